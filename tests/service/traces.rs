//! Looks for traces of somebody in everything that the record is made of, in whatever form they could be there.

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use super::harness::World;

/// Everything that the record is made of: on a file its bytes, the log's, and each value of each row; on a server each row as JSON,
/// and what `pg_dump` writes where it is installed.
pub async fn dump(world: &World) -> Vec<(String, Vec<u8>)> {
    let db = world.own_connection().await;
    let mut parts = Vec::new();
    for table in tables(&db).await {
        parts.push((format!("table {table}"), rows(&db, &table).await.into_bytes()));
    }
    db.close().await.unwrap();
    match world.server_url() {
        Some(url) => parts.extend(pg_dump(&url).map(|dump| ("pg_dump".to_owned(), dump))),
        None => {
            for file in ["rapport.db", "rapport.db-wal", "rapport.db-shm"] {
                parts.extend(std::fs::read(world.folder().join(file)).map(|bytes| (file.to_owned(), bytes)));
            }
        }
    }
    parts
}

/// Every table there is, but for the list of migrations.
pub async fn tables(db: &DatabaseConnection) -> Vec<String> {
    let sql = match db.get_database_backend() {
        DbBackend::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        _ => "SELECT table_name::text AS name FROM information_schema.tables WHERE table_schema = 'public'",
    };
    let rows = db.query_all_raw(Statement::from_string(db.get_database_backend(), sql)).await.unwrap();
    let mut names: Vec<String> = rows.into_iter().map(|row| row.try_get("", "name").unwrap()).collect();
    names.retain(|name| name != "seaql_migrations");
    names.sort();
    names
}

async fn rows(db: &DatabaseConnection, table: &str) -> String {
    let backend = db.get_database_backend();
    let row = match backend {
        DbBackend::Sqlite => {
            let sql = format!("SELECT name FROM pragma_table_info('{table}')");
            let columns = db.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
            let value = |row: sea_orm::QueryResult| format!("quote({})", row.try_get::<String>("", "name").unwrap());
            columns.into_iter().map(value).collect::<Vec<_>>().join(" || ',' || ")
        }
        _ => "row_to_json(t)::text".to_owned(),
    };
    let sql = format!("SELECT {row} AS value FROM {table} AS t");
    let rows = db.query_all_raw(Statement::from_string(backend, sql)).await.unwrap();
    let values: Vec<String> = rows.into_iter().map(|row| row.try_get("", "value").unwrap()).collect();
    values.join("\n")
}

fn pg_dump(url: &str) -> Option<Vec<u8>> {
    let dump = std::process::Command::new("pg_dump").arg(url).output().ok()?;
    assert!(dump.status.success(), "{}", String::from_utf8_lossy(&dump.stderr));
    Some(dump.stdout)
}

/// Where a secret is found, and in which form.
pub fn traces(of: &str, dump: &[(String, Vec<u8>)]) -> Vec<String> {
    let forms = forms(of);
    let mut found = Vec::new();
    for (place, bytes) in dump {
        for (form, needle) in &forms {
            if memchr::memmem::find(bytes, needle).is_some() {
                found.push(format!("{of:?} as {form} in {place}"));
            }
        }
    }
    found
}

/// The secret in each case, as it is, in hex, in base64 wherever it may begin, in URLs, in quoted-printable and in JSON.
fn forms(of: &str) -> Vec<(String, Vec<u8>)> {
    const NEITHER_ASCII_NOR_SPACE: &AsciiSet = CONTROLS;
    let mut forms = Vec::new();
    for (case, text) in [("as written", of.to_owned()), ("lower", of.to_lowercase()), ("upper", of.to_uppercase())] {
        let mut add = |form: &str, needle: String| forms.push((format!("{form}, {case}"), needle.into_bytes()));
        let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
        add("plain", text.clone());
        add("hex", hex.to_uppercase());
        add("hex", hex);
        for shift in 0..3 {
            let encoded = base64(&text, shift);
            add("base64 for URLs", encoded.replace('+', "-").replace('/', "_"));
            add("base64", encoded);
        }
        let url = utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string();
        add("URL", url.to_lowercase());
        add("form", url.replace("%20", "+"));
        add("URL", url);
        add("URL", utf8_percent_encode(&text, NEITHER_ASCII_NOR_SPACE).to_string());
        let quoted = |byte: u8| match byte {
            b' '..=b'~' if byte != b'=' => char::from(byte).to_string(),
            byte => format!("={byte:02X}"),
        };
        add("quoted-printable", text.bytes().map(quoted).collect());
        let escaped = |letter: char| match letter {
            ' '..='~' => letter.to_string(),
            letter => format!("\\u{:04x}", u32::from(letter)),
        };
        add("JSON", text.chars().map(escaped).collect());
    }
    forms
}

/// What of the base64 of a text does not depend on what stands before and after it, where `shift` bytes of a group stand before.
fn base64(text: &str, shift: usize) -> String {
    let encoded = STANDARD_NO_PAD.encode([&[0; 2][..shift], text.as_bytes()].concat());
    let (first, whole) = ((shift * 8).div_ceil(6), (shift + text.len()) * 8 / 6);
    encoded[first..whole].to_owned()
}

#[test]
fn a_trace_is_found_in_every_form() {
    let secret = "Žanete+Li @nest";
    let dump = |text: String| [("here".to_owned(), format!("before {text} after").into_bytes())];
    for hidden in [
        "Žanete+Li @nest".to_owned(),
        "žanete+li @nest".to_owned(),
        "c5bd616e6574652b4c6920406e657374".to_owned(),
        "C5BD616E6574652B4C6920406E657374".to_owned(),
        STANDARD_NO_PAD.encode(format!("{secret}!")),
        STANDARD_NO_PAD.encode(format!("x{secret}yz")),
        STANDARD_NO_PAD.encode(format!("xy{secret}z")),
        "%C5%BDanete%2BLi%20%40nest".to_owned(),
        "%c5%bdanete%2bli%20%40nest".to_owned(),
        "%C5%BDanete%2BLi+%40nest".to_owned(),
        "=C5=BDanete+Li @nest".to_owned(),
        "\\u017danete+Li @nest".to_owned(),
    ] {
        assert_ne!(traces(secret, &dump(hidden.clone())), Vec::<String>::new(), "{hidden}");
    }
    assert_eq!(traces(secret, &dump("Zanete+Li @nest".to_owned())), Vec::<String>::new());
}
