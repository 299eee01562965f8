//! The shape of the house, read from the text of `src/` and `migrations/`: who imports whom, where the wire, the
//! database, the clock and chance may appear, how long a file and a function may be. Every rule is one test. The checks
//! have tests of their own at the end, each with a few lines that break a rule.

#![allow(clippy::expect_used, reason = "a test may stop where it stands")]

use std::{fs, path::Path, sync::LazyLock};

/// From the top down: a module imports from the rows below its own, never from its own row or from above. Modules that
/// are planned but not written yet have their places already.
const ROWS: &[&[&str]] = &[
    &["cli"],
    &["service"],
    &["api", "pages"],
    &["privacy", "admin", "inbound", "rehearsal"],
    &["intake", "dispatch"],
    &["gate"],
    &["campaigns"],
    &["preferences"],
    &["customers", "events", "senders"],
    &["contacts", "templates"],
    &["filter", "calendar", "workers", "rpc"],
    &["delivery", "links"],
    &["database"],
    &["tokens", "split"],
    &["ids", "clock", "config", "telemetry", "metrics", "migrations", "share"],
];

/// The only inner modules that others may see, each with the reason.
const OPEN_ROOMS: &[(&str, &str, &str)] = &[
    ("src/contacts/mod.rs", "claims", "claiming and settling is for those who carry a contact out"),
    ("src/campaigns/mod.rs", "enrollments", "the customers inside a plan are a subject of their own"),
    ("src/campaigns/mod.rs", "backfills", "those who go through events of the past keep how far they have come"),
    ("src/campaigns/mod.rs", "runs", "the firings of newsletters are a subject of their own"),
    ("src/campaigns/mod.rs", "members", "whoever looks for customers who begin to match keeps who does"),
    ("src/gate/mod.rs", "pauses", "operators begin and end them, and the dispatcher claims nothing meanwhile"),
    ("src/rpc/mod.rs", "proto", "the generated code, for those who speak the wire"),
];

/// Names that belong to a few places only: a folder, a file, or a file name that every feature may have.
struct Ban {
    names: &'static [&'static str],
    only_in: &'static [&'static str],
    reason: &'static str,
}

const WIRE: Ban = Ban {
    names: &[
        "tonic",
        "tonic_health",
        "tonic_prost",
        "tonic_reflection",
        "tonic_types",
        "prost",
        "prost_reflect",
        "prost_types",
        "proto",
    ],
    only_in: &["src/api/", "src/rpc/", "src/cli/", "src/service.rs", "src/service/"],
    reason: "only adapters, commands and the composition root speak the wire",
};

const WEB: Ban = Ban {
    names: &["axum"],
    only_in: &["src/pages/", "src/service.rs"],
    reason: "only pages and the composition root speak HTTP",
};

const SQL: Ban = Ban {
    names: &["sea_orm", "sea_orm_migration", "sea_query", "sqlx"],
    only_in: &["store.rs", "entity.rs", "src/database/", "src/filter/", "src/rpc/", "migrations/"],
    reason: "queries live in stores",
};

const ENTITY_USES: Ban = Ban {
    names: &["entity"],
    only_in: &["store.rs", "entity.rs"],
    reason: "a feature's entities are for its store.rs alone",
};

const ENTITIES: Ban = Ban {
    names: &["DeriveEntityModel"],
    only_in: &["entity.rs"],
    reason: "entities stand in their feature's entity.rs",
};

const CLOCK_AND_CHANCE: Ban = Ban {
    names: &[
        "Utc::now",
        "Local::now",
        "SystemTime::now",
        "Uuid::new_v4",
        "Uuid::now_v7",
        "rand::",
        "thread_rng",
        "getrandom",
    ],
    only_in: &["src/clock.rs", "src/ids.rs"],
    reason: "time comes from the Clock that one was given, randomness from ids.rs",
};

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 80;
const LONGEST_MAIN: usize = 59;

#[test]
fn every_module_imports_only_from_the_rows_below_it() {
    hold(imports_upwards);
}

#[test]
fn lib_rs_only_declares_modules() {
    hold(more_than_declarations);
}

#[test]
fn a_feature_opens_no_inner_module_but_the_listed_ones() {
    hold(open_rooms);
}

#[test]
fn only_adapters_commands_and_the_composition_root_speak_the_wire() {
    hold(|source| breaches(source, &WIRE));
}

#[test]
fn only_pages_and_the_composition_root_speak_http() {
    hold(|source| breaches(source, &WEB));
}

#[test]
fn only_stores_and_foundations_speak_sql() {
    hold(|source| breaches(source, &SQL));
}

#[test]
fn only_the_stores_of_a_feature_see_its_entities() {
    hold(|source| breaches(source, &ENTITY_USES));
}

/// That `mod entity` is private everywhere is part of `a_feature_opens_no_inner_module_but_the_listed_ones`.
#[test]
fn entities_stand_in_files_of_that_name() {
    hold(|source| breaches(source, &ENTITIES));
}

#[test]
fn only_clock_rs_reads_the_clock_and_only_ids_rs_draws_lots() {
    hold(|source| breaches(source, &CLOCK_AND_CHANCE));
}

#[test]
fn no_file_is_longer_than_400_lines_of_code() {
    hold(long_file);
}

#[test]
fn no_function_is_longer_than_80_lines_of_code() {
    hold(long_functions);
}

#[test]
fn main_rs_is_shorter_than_60_lines() {
    hold(long_main);
}

#[test]
#[ignore = "prints numbers"]
#[expect(clippy::print_stdout, reason = "this is what it is for")]
fn lines_per_file_and_function() {
    let (mut files, mut all) = (Vec::new(), Vec::new());
    for source in SOURCES.iter().filter(|source| source.is_in(&["src/"])) {
        files.push((lines_of_code(source.product()), source.path.clone()));
        let place = |one: Function| (one.length, format!("{}:{} {}", source.path, one.line, one.name));
        all.extend(functions(source.product()).into_iter().map(place));
    }
    println!("lines of code per file, without unit tests: {}", spread(files));
    println!("lines of code per function, without unit tests: {}", spread(all));
}

fn spread(mut lengths: Vec<(usize, String)>) -> String {
    lengths.sort_unstable();
    let count = lengths.len();
    let (median, ninth, (most, name)) = (lengths[count / 2].0, lengths[count * 9 / 10].0, &lengths[count - 1]);
    format!("{count} counted, median {median}, 90th percentile {ninth}, longest {most} ({name})")
}

/// One file of the crate; its path begins at the project's root.
struct Source {
    path: String,
    tokens: Vec<Token>,
}

static SOURCES: LazyLock<Vec<Source>> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    ["src", "migrations"].iter().for_each(|folder| read_folder(root, folder, &mut found));
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
});

fn read_folder(root: &Path, folder: &str, found: &mut Vec<Source>) {
    for entry in fs::read_dir(root.join(folder)).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_folder(root, &path, found);
        } else if path.ends_with(".rs") {
            found.push(Source::new(&path, &fs::read_to_string(entry.path()).expect("the file can be read")));
        }
    }
}

/// Fails with every finding of this check in the crate.
fn hold(check: impl Fn(&Source) -> Vec<String>) {
    assert!(SOURCES.iter().any(|source| source.path == "src/lib.rs"), "there is nothing to check");
    let mut found: Vec<String> = SOURCES.iter().flat_map(check).collect();
    found.dedup();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), tokens: tokens(text) }
    }

    fn finding(&self, line: usize, sentence: &str) -> String {
        format!("{}:{line}: {sentence}", self.path)
    }

    /// The module that this file is, from the crate's root on; nothing for the root itself.
    fn module(&self) -> Vec<&str> {
        if self.is_in(&["src/lib.rs", "src/main.rs"]) {
            return Vec::new();
        }
        let path = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        path.strip_suffix("/mod").unwrap_or(path).split('/').collect()
    }

    fn is_in(&self, places: &[&str]) -> bool {
        let name = self.path.rsplit('/').next();
        let is_here = |place: &str| self.path == place || place.ends_with('/') && self.path.starts_with(place);
        places.iter().any(|place| is_here(place) || name == Some(place))
    }

    /// All but the unit tests at the end.
    fn product(&self) -> &[Token] {
        let end = occurrences(&self.tokens, "#[cfg(test)] mod tests").first().copied();
        &self.tokens[..end.unwrap_or(self.tokens.len())]
    }
}

fn imports_upwards(source: &Source) -> Vec<String> {
    let row = |module: &str| ROWS.iter().position(|row| row.contains(&module));
    let Some(&own) = source.module().first() else { return Vec::new() };
    let Some(own_row) = row(own) else {
        return vec![source.finding(1, &format!("`{own}` stands in no row of tests/architecture.rs"))];
    };
    let wrong = |other: &Token| match row(&other.text) {
        Some(other_row) if other_row > own_row || other.text == own => None,
        Some(other_row) if other_row == own_row => Some("stands beside it"),
        Some(_) => Some("stands above it"),
        None => Some("stands in no row of tests/architecture.rs"),
    };
    let sentence = |other: &Token| Some(format!("`{own}` imports `{}`, which {}", other.text, wrong(other)?));
    let imported = modules_from_root(source).into_iter();
    imported.filter_map(|other| Some(source.finding(other.line, &sentence(other)?))).collect()
}

/// What follows the crate's root in every path that begins there, with `crate::` or with as many `super::` as it takes.
fn modules_from_root(source: &Source) -> Vec<&Token> {
    let tokens = &source.tokens;
    let (mut found, mut open_braces) = (Vec::new(), Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => open_braces.push(at >= 2 && tokens[at - 2].text == "mod"),
            "}" => drop(open_braces.pop()),
            "crate" | "super" if text_at(tokens, at + 1) == "::" => {
                let depth = source.module().len() + open_braces.iter().filter(|is_module| **is_module).count();
                let mut paths = Vec::new();
                expand(tokens, at, &[], &mut paths);
                found.extend(paths.iter().filter_map(|path| after_root(path, depth)));
            }
            _ => {}
        }
    }
    found
}

fn after_root<'a>(path: &[&'a Token], depth: usize) -> Option<&'a Token> {
    match path.iter().take_while(|token| token.text == "super").count() {
        0 => path.get(1).copied(),
        ups => path.get(ups).copied().filter(|_| ups >= depth),
    }
}

/// The paths of `a::{b, c::d as e}`, which are `a::b` and `a::c::d`; answers where the tree ends.
fn expand<'a>(tokens: &'a [Token], mut at: usize, before: &[&'a Token], found: &mut Vec<Vec<&'a Token>>) -> usize {
    let mut path = before.to_vec();
    while text_at(tokens, at) != "{" {
        path.extend(tokens.get(at));
        if text_at(tokens, at + 1) != "::" {
            found.push(path);
            return at + 1;
        }
        at += 2;
    }
    at += 1;
    loop {
        match text_at(tokens, at) {
            "}" | "" => return at + 1,
            "," => at += 1,
            "as" => at += 2,
            _ => at = expand(tokens, at, &path, found),
        }
    }
}

fn more_than_declarations(source: &Source) -> Vec<String> {
    let declares = |item: &[Token]| match item {
        [] => true,
        [before @ .., visible, kind, _] => {
            visible.text == "pub" && kind.text == "mod" && before.first().is_none_or(|sign| sign.text == "#")
        }
        _ => false,
    };
    let items = source.tokens.split(|token| token.text == ";");
    let others = items.filter(|item| source.path == "src/lib.rs" && !declares(item));
    others.map(|item| source.finding(item[0].line, "lib.rs only declares modules: `pub mod name;`")).collect()
}

fn open_rooms(source: &Source) -> Vec<String> {
    // lib.rs opens the features, and what an entity.rs opens stays behind its own closed door.
    if source.is_in(&["src/lib.rs", "entity.rs"]) {
        return Vec::new();
    }
    let name = |at: usize| text_at(&source.tokens, at + 1);
    // `pub mod` and `pub(crate) mod`
    let is_open = |at: usize| at > 0 && ["pub", ")"].contains(&text_at(&source.tokens, at - 1));
    let is_listed = |at| OPEN_ROOMS.iter().any(|(path, room, _)| source.path == *path && name(at) == *room);
    let sentence = |at| format!("`{}` is open to other features: they use what its mod.rs offers", name(at));
    let open = occurrences(&source.tokens, "mod").into_iter().filter(|&at| is_open(at) && !is_listed(at));
    open.map(|at| source.finding(source.tokens[at].line, &sentence(at))).collect()
}

fn breaches(source: &Source, ban: &Ban) -> Vec<String> {
    if source.is_in(ban.only_in) {
        return Vec::new();
    }
    // To declare a module of that name is not to use it.
    let is_use = |at: &usize| *at == 0 || source.tokens[at - 1].text != "mod";
    let uses = |name| occurrences(&source.tokens, name).into_iter().filter(is_use).map(move |at| (at, name));
    let finding = |(at, name): (usize, &str)| {
        source.finding(source.tokens[at].line, &format!("`{name}` has no place here: {}", ban.reason))
    };
    ban.names.iter().copied().flat_map(uses).map(finding).collect()
}

fn long_file(source: &Source) -> Vec<String> {
    let length = lines_of_code(source.product());
    let sentence = format!("the file has {length} lines of code, more than {LONGEST_FILE}");
    Vec::from_iter((source.is_in(&["src/"]) && length > LONGEST_FILE).then(|| source.finding(1, &sentence)))
}

fn long_functions(source: &Source) -> Vec<String> {
    let sentence =
        |one: &Function| format!("`{}` has {} lines of code, more than {LONGEST_FUNCTION}", one.name, one.length);
    let functions = functions(&source.tokens).into_iter();
    let long = functions.filter(|one| source.is_in(&["src/"]) && one.length > LONGEST_FUNCTION);
    long.map(|one| source.finding(one.line, &sentence(&one))).collect()
}

fn long_main(source: &Source) -> Vec<String> {
    let last_line = source.tokens.last().map_or(0, |token| token.line);
    let is_long = source.path == "src/main.rs" && last_line > LONGEST_MAIN;
    let sentence = format!("main.rs is longer than {LONGEST_MAIN} lines: it parses arguments and hands over");
    Vec::from_iter(is_long.then(|| source.finding(last_line, &sentence)))
}

struct Function {
    name: String,
    line: usize,
    length: usize,
}

/// Every function with a body; `fn(` is a type.
fn functions(tokens: &[Token]) -> Vec<Function> {
    let named = occurrences(tokens, "fn").into_iter().filter(|at| text_at(tokens, at + 1) != "(");
    let measure = |at: usize| {
        let length = lines_of_code(&tokens[at..=at + body_end(&tokens[at..])?]);
        Some(Function { name: text_at(tokens, at + 1).to_owned(), line: tokens[at].line, length })
    };
    named.filter_map(measure).collect()
}

/// Where the brace stands that closes a function; nothing for one without a body.
fn body_end(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            "}" if depth == 1 => return Some(at),
            ")" | "]" | "}" => depth = depth.checked_sub(1)?,
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Lines with more on them than blanks and comments.
fn lines_of_code(tokens: &[Token]) -> usize {
    tokens.chunk_by(|one, next| one.line == next.line).count()
}

/// A word, `::`, a literal or a single sign. A string is a `"` on each of its lines, a comment is nothing.
struct Token {
    line: usize,
    text: String,
}

fn text_at(tokens: &[Token], at: usize) -> &str {
    tokens.get(at).map_or("", |token| &token.text)
}

/// Where this piece of code begins, however it is spaced.
fn occurrences(within: &[Token], code: &str) -> Vec<usize> {
    let code = tokens(code);
    let is_here = |place: &[Token]| place.iter().zip(&code).all(|(one, other)| one.text == other.text);
    within.windows(code.len()).enumerate().filter(|(_, place)| is_here(place)).map(|(at, _)| at).collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let (mut found, mut line, mut rest) = (Vec::new(), 1, text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(next_piece(rest));
        let is_comment = piece.starts_with("//") || piece.starts_with("/*");
        for (below, part) in piece.lines().enumerate().filter(|(_, part)| !is_comment && !part.trim().is_empty()) {
            let text = if piece.contains('"') { "\"" } else { part };
            found.push(Token { line: line + below, text: text.to_owned() });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    found
}

/// How long the token, the comment or the blank is with which `rest` begins.
fn next_piece(rest: &str) -> usize {
    let word = rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len());
    let blank = rest.len() - rest.trim_start().len();
    if blank > 0 {
        blank
    } else if rest.starts_with("//") {
        rest.find('\n').unwrap_or(rest.len())
    } else if rest.starts_with("/*") {
        block_comment(rest.as_bytes())
    } else if let Some(literal) = raw_string(rest).or_else(|| quoted(rest)) {
        literal
    } else if word > 0 {
        word
    } else if rest.starts_with("::") {
        2
    } else {
        rest.chars().next().map_or(0, char::len_utf8)
    }
}

/// Block comments stand inside one another.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn raw_string(rest: &str) -> Option<usize> {
    let after = ["r", "br", "cr"].iter().find_map(|prefix| rest.strip_prefix(prefix))?;
    let unhashed = after.trim_start_matches('#');
    let inside = unhashed.strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(after.len() - unhashed.len()));
    let length = inside.find(&end).map_or(inside.len(), |at| at + end.len());
    Some(rest.len() - inside.len() + length)
}

fn quoted(rest: &str) -> Option<usize> {
    let from_quote = rest.strip_prefix(['b', 'c']).unwrap_or(rest);
    let quote = from_quote.chars().next().filter(|sign| matches!(sign, '"' | '\''))?;
    let inside = &from_quote[1..];
    // A lifetime begins as a character does, but has no quote after its first letter.
    let is_lifetime = quote == '\'' && !inside.starts_with('\\') && inside.chars().nth(1) != Some('\'');
    (!is_lifetime).then(|| rest.len() - inside.len() + closing_quote(inside, quote))
}

fn closing_quote(inside: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, sign) in inside.char_indices() {
        if sign == quote && !escaped {
            return at + 1;
        }
        escaped = sign == '\\' && !escaped;
    }
    inside.len()
}

/// What a check says about a file with this text, each thing once.
fn said(check: impl Fn(&Source) -> Vec<String>, path: &str, text: &str) -> Vec<String> {
    let mut found = check(&Source::new(path, text));
    found.dedup();
    found
}

const NOTHING: [&str; 0] = [];

#[test]
fn an_import_from_above_or_beside_is_found_however_it_is_written() {
    for (path, text, line, sentence) in [
        ("src/gate/rules.rs", "use crate::api::Api;", 1, "`gate` imports `api`, which stands above it"),
        ("src/gate/mod.rs", "use crate::{\n    ids,\n    api::{self, Parts},\n};", 3, "`api`"),
        ("src/gate/mod.rs", "fn a() {\n    crate::api::serve()\n}", 2, "`api`"),
        ("src/gate/mod.rs", "pub use crate::api::Api;", 1, "`api`"),
        ("src/gate/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::api::Api;\n}", 3, "`api`"),
        ("src/gate/mod.rs", "use super::api::Api;", 1, "`api`"),
        ("src/gate/rules.rs", "mod a {\n    use super::super::{super::{ids, api as b}};\n}", 2, "`api`"),
        ("src/events/store.rs", "use crate::customers::Customer;", 1, "`customers`, which stands beside it"),
        ("src/gate/mod.rs", "use crate::attic::Box;", 1, "`attic`, which stands in no row"),
        ("src/attic/mod.rs", "", 1, "`attic` stands in no row"),
        ("migrations/m1.rs", "use crate::database::Database;", 1, "`migrations` imports `database`"),
    ] {
        let found = said(imports_upwards, path, text);
        assert!(found.len() == 1 && found[0].starts_with(&format!("{path}:{line}: ")), "{text}: {found:?}");
        assert!(found[0].contains(sentence), "{text}: {found:?}");
    }
    let fine = "use super::{super::{Place, gate}, store};\nuse crate::{campaigns::Plan, contacts as gate, ids::*};\n\
        // crate::gate::Gate\nmod tests { use super::super::super::ids; const A: &str = \"crate::gate\"; }";
    assert_eq!(said(imports_upwards, "src/campaigns/enrollments/store.rs", fine), NOTHING);
    assert_eq!(said(imports_upwards, "src/main.rs", "use crate::cli;"), NOTHING);
}

#[test]
fn more_than_declarations_in_lib_rs_is_found() {
    let text =
        "//! Doc.\n#[path = \"../a.rs\"]\npub mod a;\npub use a::B;\npub mod c;\nmod d;\npub mod e { fn f() {} }";
    assert_eq!(said(more_than_declarations, "src/lib.rs", text).len(), 3);
    assert_eq!(said(more_than_declarations, "src/lib.rs", "#![deny(a)]\npub mod a;\npub mod b;"), NOTHING);
}

#[test]
fn an_open_room_is_found() {
    for text in ["pub mod store;", "pub(crate) mod entity;", "mod a;\npub(super) mod store {}"] {
        assert_eq!(said(open_rooms, "src/contacts/mod.rs", text).len(), 1, "{text}");
    }
    assert_eq!(said(open_rooms, "src/contacts/mod.rs", "mod entity;\nmod store;\npub mod claims;"), NOTHING);
    assert_eq!(said(open_rooms, "src/customers/mod.rs", "pub mod claims;").len(), 1);
}

#[test]
fn a_name_in_a_place_that_is_not_its_own_is_found() {
    for (ban, wrong_place, text, right_place) in [
        (&WIRE, "src/gate/store.rs", "use tonic::Status;", "src/rpc/status.rs"),
        (&WIRE, "src/gate/mod.rs", "use crate::rpc::{\nproto::Customer};", "src/cli/demo/story.rs"),
        (&WIRE, "src/api.rs", "use prost_types::Timestamp;", "src/service.rs"),
        (&WEB, "src/api/mod.rs", "use axum::Router;", "src/pages/mod.rs"),
        (&SQL, "src/gate/mod.rs", "type A = sea_orm::DbErr;", "src/contacts/claims/store.rs"),
        (&SQL, "src/gate/restore.rs", "use sqlx::Row;", "migrations/m1.rs"),
        (&ENTITY_USES, "src/gate/mod.rs", "mod entity;\nuse self::{entity::a, store};", "src/gate/store.rs"),
        (&ENTITIES, "src/gate/store.rs", "#[derive(DeriveEntityModel)]", "src/gate/entity.rs"),
        (&CLOCK_AND_CHANCE, "src/gate/mod.rs", "chrono::Utc :: now()", "src/clock.rs"),
        (&CLOCK_AND_CHANCE, "src/gate/mod.rs", "#[cfg(test)] mod tests { a(Uuid::new_v4); }", "src/ids.rs"),
    ] {
        assert_eq!(said(|source| breaches(source, ban), wrong_place, text).len(), 1, "{text}");
        assert_eq!(said(|source| breaches(source, ban), right_place, text), NOTHING);
    }
    let fine = "Instant::now(); // never Utc::now()\nlet name = \"Utc::now\"; operand::new(clock.now()); mod rand;";
    assert_eq!(said(|source| breaches(source, &CLOCK_AND_CHANCE), "src/gate/mod.rs", fine), NOTHING);
}

#[test]
fn what_is_too_long_is_found_and_only_code_is_counted() {
    let code = |lines| "a;\n".repeat(lines);
    let padding = "\n// words\n/* words\n\n/* words */ */\n".repeat(100);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{} }}", code(100));
    assert_eq!(said(long_file, "src/a.rs", &format!("{}{padding}{tests}", code(400))), NOTHING);
    assert_eq!(said(long_file, "src/a.rs", &code(401)).len(), 1);

    let function = |lines| format!("trait A {{ fn b(c: [u8; 3]); }}\n\nfn d() {{\n{padding}{}}}", code(lines));
    assert_eq!(said(long_functions, "src/a.rs", &function(78)), NOTHING);
    let found = said(long_functions, "src/a.rs", &function(79));
    assert_eq!(found, ["src/a.rs:3: `d` has 81 lines of code, more than 80"]);

    assert_eq!(said(long_main, "src/main.rs", &code(59)), NOTHING);
    assert_eq!(said(long_main, "src/main.rs", &code(60)).len(), 1);
}

#[test]
fn braces_inside_literals_and_comments_close_nothing() {
    for odd in [
        r#""}" "\\" "\"}" b"}" c"}""#,
        r##"r"}\" br#"}"}"# r#""}"#"##,
        r"'}' '\'' '\\' b'}' '\u{7d}' '\u{7b}' 'ü' '}'",
        "// }\n/* } /* } */ } */",
        "a::<'a, 'b>(&'static str, 'c: loop {}) r#type(1.0..2.0)",
        "\"a\n}\n\nb\"",
    ] {
        let text = format!("fn a() {{\n{odd}\n}}\nfn b() {{}}");
        let (a, b) = (text.lines().count() - 1, text.lines().count());
        let all = tokens(&text);
        let found: Vec<usize> = functions(&all).iter().map(|one| one.line).collect();
        assert_eq!(found, [1, b], "{odd}");
        assert_eq!(body_end(&all).map(|end| all[end].line), Some(a), "{odd}");
    }
    let words: Vec<String> = tokens("a::b<'c>('d', \"e\nf\") // g").into_iter().map(|token| token.text).collect();
    assert_eq!(words, ["a", "::", "b", "<", "'", "c", ">", "(", "'d'", ",", "\"", "\"", ")"]);
}
