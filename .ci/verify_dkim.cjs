// A verifier that shares no code with ours: mailauth. Reads {"keys": {name: record}, "letters": [path, …]} from standard input;
// prints for each letter the verdict about each of its signatures: [["pass", …], …].
const fs = require("fs");
const { dkimVerify } = require("mailauth/lib/dkim/verify");

async function main() {
    const { keys, letters } = JSON.parse(fs.readFileSync(0, "utf8"));
    const resolver = async (name, type) => {
        if (type === "TXT" && keys[name]) return [[keys[name]]];
        throw Object.assign(new Error(`no ${type} at ${name}`), { code: "ENOTFOUND" });
    };
    const verdicts = [];
    for (const letter of letters) {
        const { results } = await dkimVerify(fs.readFileSync(letter), { resolver });
        verdicts.push(results.map((one) => one.status.result));
    }
    console.log(JSON.stringify(verdicts));
}

main();
