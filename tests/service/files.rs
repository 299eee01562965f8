//! Customers from files and into files: `rapport import` and `rapport export` beside a running service.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rapport::rpc::proto::{self, Customer, ListCustomersRequest, consent, set_consent_request::Decision, topic::OptIn};

use crate::harness::*;

/// Runs a command beside the service; answers its exit code and what it said.
async fn rapport(world: &World, arguments: &[&str]) -> (i32, String) {
    let mut command = program(world, arguments);
    let run = move || {
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8(said).unwrap())
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn program(world: &World, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rapport"));
    command.args(arguments).args(["--grpc-addr", &world.address()]).current_dir(world.folder());
    command.env_remove("RAPPORT_GRPC_ADDR").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn file(world: &World, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = world.folder().join(name);
    fs::write(&path, content).unwrap();
    path
}

fn errors(world: &World, name: &str) -> String {
    fs::read_to_string(world.folder().join(format!("{name}.errors.csv"))).unwrap()
}

async fn all(world: &mut World) -> Vec<Customer> {
    let (mut customers, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListCustomersRequest { page_size: 500, page_token, ..Default::default() };
        let page = world.customers.list_customers(request).await.unwrap().into_inner();
        customers.extend(page.customers);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return customers;
        }
    }
}

fn parsed(csv: &str) -> Vec<Vec<String>> {
    let records = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes()).into_records();
    records.map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[tokio::test]
async fn a_file_from_a_spreadsheet_is_imported_with_its_errors_named_and_again_changes_nothing() {
    let mut world = World::new().await;
    let content = "\u{feff}Customer Number;E-Mail;First Name;Surname;Time Zone;Language;Tags;attributes.orders:number;Postcode;Note\r\n\
        7;anna@example.com;Anna;\"Ozola; or \"\"Oz\"\"\";Europe/Riga;lv_LV;vip, new;3;0123;left out\r\n\
        \r\n\
        8;not an address;Bert;;Mars/Olympus;;;many;;\r\n\
        9;not an address;Carl;;Mars/Olympus;;;1;;\r\n\
        10;dora@example.com;Dora\r\n\
        11;emil@example.com;'=Emil;\"two\nlines\";;;;;;\r\n\
        12;fred@example.com;Fred;;;;;;;\r\n\
        ;;;;;;;;;\r\n\
        ;;Nobody;;;;;;;\r\n\
        13;gina@example.com;'=Gina;;;;[\"a,b\"];;;\r\n";
    file(&world, "people.csv", content);
    let import = ["import", "people.csv", "--map", "Postcode=attributes.zip", "--map", "Note=-"];
    let (code, said) = rapport(&world, &import).await;
    let expected = "people.csv: 8 rows: 3 created, 0 updated, 0 unchanged, 0 skipped, 5 wrong\n\
        people.csv.errors.csv says what is wrong\nleft out: Note\n";
    assert_eq!((code, said.as_str()), (65, expected));
    let wrong: Vec<Vec<String>> = parsed(&errors(&world, "people.csv"));
    let places: Vec<_> = wrong.iter().map(|line| (line[0].as_str(), line[1].as_str())).collect();
    let expected = [
        ("line", "column"),
        ("4", "attributes.orders:number"),
        ("5", "Time Zone"),
        ("5", "E-Mail"),
        ("6", ""),
        ("7", "Surname"),
        ("11", "customer"),
    ];
    assert_eq!(places, expected);
    assert!(!errors(&world, "people.csv").contains("Mars"), "no values");
    let customers = all(&mut world).await;
    let anna = &customers[0];
    assert_eq!((anna.family_name.as_str(), anna.locale.as_str()), ("Ozola; or \"Oz\"", "lv-LV"));
    assert_eq!((anna.tags.len(), anna.time_zone.as_str(), anna.external_ids[0].as_str()), (2, "Europe/Riga", "7"));
    assert_eq!(anna.attributes, Some(structure(serde_json::json!({"orders": 3, "zip": "0123"}))));
    assert_eq!((customers[2].given_name.as_str(), customers[2].tags[0].as_str()), ("=Gina", "a,b"));
    let (code, said) = rapport(&world, &import).await;
    assert_eq!(code, 65);
    assert!(said.contains("0 created, 0 updated, 3 unchanged, 0 skipped, 5 wrong"), "{said}");
    assert_eq!(all(&mut world).await, customers);
    assert!(!world.folder().join("people.csv.import.json").exists(), "there is nothing to go on with");
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_only_new_leaves_alone_whom_there_are() {
    let mut world = World::new().await;
    world.customer("anna", "").await;
    file(
        &world,
        "new.csv",
        "external_id,email,name\nanna,anna@example.com,Anna O.\nbert,bert@example.com,Bert\nx,y,z\n",
    );
    let (code, said) = rapport(&world, &["import", "new.csv", "--dry-run"]).await;
    assert_eq!(code, 65);
    assert!(said.contains("1 created, 1 updated, 0 unchanged, 0 skipped, 1 wrong"), "{said}");
    assert_eq!(all(&mut world).await.len(), 1);
    let (_, said) = rapport(&world, &["import", "new.csv", "--only-new"]).await;
    assert!(said.contains("1 created, 0 updated, 0 unchanged, 1 skipped, 1 wrong"), "{said}");
    assert_eq!(all(&mut world).await[0].display_name, "");
}

#[tokio::test]
async fn consents_of_a_file_need_their_evidence() {
    let mut world = World::new().await;
    world.topic("offers", proto::Purpose::Marketing, OptIn::Single).await;
    world.topic("stories", proto::Purpose::Marketing, OptIn::Single).await;
    world.customer("left", "").await;
    world.consent("left", "offers", Decision::Withdraw).await;
    let content = "email,consent.offers,consent.stories,consent.stories.time,consent.evidence\n\
        left@example.com,yes,,,paper form\n\
        b@example.com,yes,yes,2025-03-01,paper form\n\
        c@example.com,no,,,\n\
        d@example.com,,yes,,paper form\n\
        e@example.com,maybe,,,\n";
    file(&world, "said.csv", content);
    let (code, said) = rapport(&world, &["import", "said.csv", "--consent-time", "2025-02-01T10:00:00Z"]).await;
    assert_eq!(code, 65);
    assert!(said.contains("consents: 4 recorded, 0 unchanged, 1 refused"), "{said}");
    let places: Vec<_> =
        parsed(&errors(&world, "said.csv")).into_iter().map(|line| (line[0].clone(), line[1].clone())).collect();
    assert_eq!(places[1..], [("2".into(), "consents[0]".into()), ("6".into(), "consent.offers".into())]);
    let preferences = async |world: &mut World, address: &str| {
        let key = Some(proto::customer_ref::Key::Email(address.to_owned()));
        let request = proto::GetPreferencesRequest { customer: Some(proto::CustomerRef { key }) };
        let preferences = world.preferences.get_preferences(request).await.unwrap().into_inner().preferences.unwrap();
        let said =
            preferences.consents.into_iter().map(|one| (one.topic_id.clone(), one.state(), shown(one.change_time)));
        said.collect::<Vec<_>>()
    };
    let expected = [
        ("offers".to_owned(), consent::State::Granted, "2025-02-01T10:00:00Z".to_owned()),
        ("stories".to_owned(), consent::State::Granted, "2025-03-01T00:00:00Z".to_owned()),
    ];
    assert_eq!(preferences(&mut world, "b@example.com").await, expected);
    assert_eq!(preferences(&mut world, "c@example.com").await[0].1, consent::State::Denied);
    assert_eq!(
        preferences(&mut world, "left@example.com").await[0].1,
        consent::State::Denied,
        "an import lifts nothing"
    );
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_where_it_ended() {
    const ROWS: usize = 12_000;
    let mut world = World::new().await;
    let mut content = "external_id,email\n".to_owned();
    for number in 0..ROWS {
        // Some that are wrong, here and there: each is told once.
        let at = if number % 1_000 == 500 { "" } else { "@example.com" };
        content.push_str(&format!("n{number},n{number}{at}{}\n", if number % 1_000 == 700 { ",more" } else { "" }));
    }
    file(&world, "many.csv", content);
    let state = world.folder().join("many.csv.import.json");
    let mut child = program(&world, &["import", "many.csv"]).spawn().unwrap();
    while !state.exists() {
        assert!(child.try_wait().unwrap().is_none(), "it was too fast to be killed");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&state).unwrap()).unwrap();
    assert!(kept["line"].as_u64().unwrap() < ROWS as u64, "{kept}");
    let (code, said) = rapport(&world, &["import", "many.csv", "--only-new"]).await;
    assert_eq!(code, 65);
    assert!(said.contains("with other options: --restart begins"), "{said}");
    let (code, said) = rapport(&world, &["import", "many.csv"]).await;
    assert_eq!(code, 65, "{said}");
    assert!(said.contains("12,000 rows") && said.contains(" 24 wrong"), "{said}");
    let lines: Vec<u64> =
        parsed(&errors(&world, "many.csv"))[1..].iter().map(|line| line[0].parse().unwrap()).collect();
    assert_eq!(lines.len(), 24);
    assert!(lines.is_sorted(), "{lines:?}");
    assert_eq!(all(&mut world).await.len(), ROWS - 24);
    assert!(!state.exists());
    let (code, said) = rapport(&world, &["import", "nothing.csv"]).await;
    assert_eq!(code, 66, "{said}");
    let nobody = ["import", "many.csv", "--grpc-addr", "127.0.0.1:1"];
    let output = Command::new(env!("CARGO_BIN_EXE_rapport")).args(nobody).current_dir(world.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(75));
}

#[tokio::test]
async fn hostile_files_end_in_a_sentence_and_cost_nothing_but_their_rows() {
    let mut world = World::new().await;
    let long = |length: usize| "x".repeat(length);
    let deep = format!("email,attributes\na@example.com,\"{}1{}\"\n", "{\"\"a\"\":".repeat(200), "}".repeat(200));
    // Each with its exit code, and how many customers it makes.
    let cases: Vec<(&str, Vec<u8>, i32, usize)> = vec![
        ("nothing at all", vec![], 65, 0),
        ("only empty lines", b"\r\n\n\n".to_vec(), 65, 0),
        ("only names", b"email,name\n".to_vec(), 0, 0),
        ("no column that says who", b"colour,shape\nred,round\n".to_vec(), 65, 0),
        ("two columns that say the same", b"email,e-mail\na@example.com,b@example.com\n".to_vec(), 65, 0),
        ("UTF-16", b"\xff\xfee\0m\0a\0i\0l\0\n\0".to_vec(), 65, 0),
        ("UTF-16 without a mark", b"e\0m\0a\0i\0l\0\n\0a\0\n\0".to_vec(), 65, 0),
        ("Latin-1", b"email,name\na01@example.com,J\xfcrgen\na02@example.com,Anna\n".to_vec(), 65, 1),
        ("zero bytes", b"email,name\na03@example.com,a\0b\na04@example.com,Anna\n".to_vec(), 65, 1),
        ("a quote that is not closed", b"email,name\na05@example.com,Anna\n\"a06@example.com,Bert\n".to_vec(), 65, 1),
        (
            "a huge cell",
            format!("email,name\na07@example.com,{}\na08@example.com,B\n", long(3 << 20)).into_bytes(),
            65,
            1,
        ),
        ("a name that is too long", format!("email,name\na09@example.com,{}\n", long(900)).into_bytes(), 65, 0),
        (
            "far too many cells",
            format!("email,name\na10@example.com{}\na11@example.com,B\n", ",".repeat(9_000)).into_bytes(),
            65,
            1,
        ),
        ("ragged rows", b"email,name\na12@example.com\na13@example.com,B,C\na14@example.com,B,,\n".to_vec(), 65, 1),
        ("deep JSON", deep.into_bytes(), 65, 0),
        (
            "many numbers",
            format!("email,attributes\na15@example.com,\"{{\"\"a\"\":[{}1]}}\"\n", "1,".repeat(300_000)).into_bytes(),
            65,
            0,
        ),
        ("many tags", format!("email,tags\na16@example.com,\"{}\"\n", "a,".repeat(5_000)).into_bytes(), 65, 0),
        ("line breaks in headers", b"email,name\na17@example.com,\"Anna\r\nBcc: all@example.com\"\n".to_vec(), 65, 0),
        ("marks that turn text around", "email,name\na18@example.com,Anna \u{202e}gpj\n".as_bytes().to_vec(), 65, 0),
        ("statements", b"external_id,name\n'); DROP TABLE customers;--,\"\"\"; DELETE FROM events\"\n".to_vec(), 0, 1),
        ("the same row a hundred times", format!("email\n{}", "a19@example.com\n".repeat(100)).into_bytes(), 0, 1),
        ("old line ends", b"email,name\ra20@example.com,Anna\ra21@example.com,Bert\r".to_vec(), 0, 2),
        ("bytes of chance", (0..4_096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(), 65, 0),
    ];
    let mut expected = 0;
    for (number, (what, content, code, created)) in cases.into_iter().enumerate() {
        let name = format!("hostile-{number}.csv");
        file(&world, &name, content);
        let (ended, said) = rapport(&world, &["import", &name]).await;
        expected += created;
        assert_eq!((ended, all(&mut world).await.len()), (code, expected), "{what}: {said}");
        assert!(!said.contains("panicked") && said.len() < 2_000, "{what}: {said}");
    }
}

#[tokio::test]
async fn what_is_exported_runs_in_no_spreadsheet_and_comes_back_as_it_was() {
    let mut world = World::new().await;
    world.shop().await;
    let nasty =
        ["=1+1", "+371 2000", "-5", "@SUM(A1)", "'=1", "=HYPERLINK(\"http://x\",\"y\")", "a;b", "\"quoted\"", "＝1"];
    for (number, text) in nasty.iter().enumerate() {
        let customer = Customer {
            external_ids: vec![format!("{text}"), format!("k,{number}")],
            display_name: (*text).to_owned(),
            given_name: format!("{text}{text}"),
            tags: vec![(*text).to_owned(), "two, parts".to_owned()],
            attributes: Some(structure(serde_json::json!({"=a": *text, "n": 5, "x": [1.5, null, {"b": true}]}))),
            time_zone: "Europe/Riga".to_owned(),
            addresses: vec![
                email(&format!("+{number}@example.com")),
                proto::Address { primary: true, ..email(&format!("p{number}@example.com")) },
            ],
            ..Customer::default()
        };
        let request = proto::CreateCustomerRequest { customer: Some(customer), ..Default::default() };
        world.customers.create_customer(request).await.unwrap();
    }
    let mut more = "external_id\n".to_owned();
    (0..600).for_each(|number| more.push_str(&format!("more-{number}\n")));
    file(&world, "more.csv", more);
    assert_eq!(rapport(&world, &["import", "more.csv"]).await.0, 0);
    let before = all(&mut world).await;
    let (code, _) = rapport(&world, &["export", "customers", "--out", "out.csv"]).await;
    assert_eq!(code, 0);
    let out = fs::read_to_string(world.folder().join("out.csv")).unwrap();
    let lines = parsed(&out);
    assert_eq!(lines.len(), 1 + before.len());
    let risky = |cell: &String| cell.starts_with(['=', '+', '-', '@', '\t', '\r', '＝']);
    assert!(lines.iter().flatten().all(|cell| !risky(cell)), "{out}");
    let expected = "customer_id,external_ids,email,other_emails,display_name,given_name,family_name,time_zone,locale,tags,\
        attributes,email_verify_time,state,create_time,update_time";
    assert_eq!(out.lines().next(), Some(expected));
    let (code, said) = rapport(&world, &["import", "out.csv"]).await;
    assert_eq!((code, said.contains(" 609 unchanged")), (0, true), "{said}");
    assert_eq!(all(&mut world).await, before);
    let (code, said) = rapport(&world, &["export", "customers", "--format", "jsonl"]).await;
    assert_eq!(code, 0);
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((said.lines().count(), &first["displayName"]), (609, &serde_json::json!("=1+1")));
}

#[tokio::test]
async fn events_and_contacts_are_exported() {
    let mut world = World::new().await;
    world.shop().await;
    world.customer("anna", "").await;
    let value = proto::Money { currency_code: "EUR".to_owned(), amount: "-12.50".to_owned() };
    let event = proto::Event { value: Some(value), ..world.event("order.placed", "anna", "=order") };
    world.record(event).await.unwrap();
    let (code, events) = rapport(&world, &["export", "events"]).await;
    let events = parsed(&events);
    assert_eq!((code, events.len()), (0, 2));
    assert_eq!((events[0][7].as_str(), events[1][7].as_str()), ("subject", "'=order"));
    assert_eq!(events[1][8..10], ["'-12.50", "EUR"]);
    let (code, contacts) = rapport(&world, &["export", "contacts"]).await;
    let contacts = parsed(&contacts);
    assert_eq!((code, contacts.len(), contacts[1][2].as_str()), (0, 2, "check-in"));
    let (code, lines) = rapport(&world, &["export", "contacts", "--format", "jsonl"]).await;
    let contact: serde_json::Value = serde_json::from_str(lines.trim()).unwrap();
    assert_eq!((code, &contact["state"]), (0, &serde_json::json!("STATE_SCHEDULED")));
    for (filter, found) in [("state = STATE_SCHEDULED", 1), ("state = STATE_SENT", 0)] {
        let (code, contacts) = rapport(&world, &["export", "contacts", "--filter", filter]).await;
        assert_eq!((code, parsed(&contacts).len()), (0, 1 + found), "{filter}");
    }
    let (code, said) = rapport(&world, &["export", "events", "--filter", "event_type = "]).await;
    assert_eq!((code, said.contains("filter: column 14")), (65, true), "{said}");
    let path = Path::new("/nowhere/at/all");
    let (code, said) = rapport(&world, &["export", "events", "--out", path.to_str().unwrap()]).await;
    assert_eq!(code, 73, "{said}");
}
