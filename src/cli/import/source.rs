//! The file as it is read, in a thread of its own: rows that can be sent, and those that cannot.

use std::{
    io::{self, BufRead},
    sync::Arc,
};

use prost::Message;
use tokio::sync::mpsc;

use super::{
    columns::{Columns, WrongCell},
    records::{Records, Unreadable},
};
use crate::rpc::proto::{ImportCustomersRequest, import_customers_request::Item};

/// How large a row is at most; one that is right is far smaller.
const LARGEST: usize = 1_024 * 1_024;

/// A row that is not sent.
#[derive(Debug)]
pub struct Bad {
    /// The line of the last row that was sent before it.
    pub after: i64,
    /// Its own line.
    pub line: i64,
    /// What is wrong.
    pub wrong: Vec<WrongCell>,
}

/// Reads a file.
pub struct Source {
    /// What its columns say.
    pub columns: Arc<Columns>,
    /// The line up to which everything is done.
    pub after: i64,
    /// Where rows go.
    pub rows: mpsc::Sender<ImportCustomersRequest>,
    /// Where those go that are wrong.
    pub bads: mpsc::Sender<Bad>,
}

impl Source {
    /// Reads until the end, or until nobody takes rows any more; answers how many it sent.
    pub fn read<R: BufRead>(self, mut records: Records<R>) -> io::Result<i64> {
        let (mut sent, mut last) = (0, self.after);
        while let Some(record) = records.next()? {
            let line = i64::try_from(record.line).unwrap_or(i64::MAX);
            if line <= self.after {
                continue;
            }
            let row = match record.cells {
                Ok(cells) => self.columns.row(record.line, cells),
                Err(wrong) => Err(vec![self.unreadable(&wrong)]),
            };
            let is_taken = match row {
                Ok(None) => true,
                Ok(Some(row)) if row.encoded_len() > LARGEST => self.refuse(last, line, vec![too_large()]),
                Ok(Some(row)) => {
                    (sent, last) = (sent + 1, line);
                    self.rows.blocking_send(ImportCustomersRequest { item: Some(Item::Row(row)) }).is_ok()
                }
                Err(wrong) => self.refuse(last, line, wrong),
            };
            if !is_taken {
                break;
            }
        }
        Ok(sent)
    }

    fn refuse(&self, after: i64, line: i64, wrong: Vec<WrongCell>) -> bool {
        self.bads.blocking_send(Bad { after, line, wrong }).is_ok()
    }

    fn unreadable(&self, wrong: &Unreadable) -> WrongCell {
        let column = match wrong {
            Unreadable::NotUtf8 { cell } => self.columns.name(*cell),
            Unreadable::TooLarge => String::new(),
        };
        WrongCell { column, sentence: wrong.to_string() }
    }
}

fn too_large() -> WrongCell {
    WrongCell { column: String::new(), sentence: "is larger than any customer may be".to_owned() }
}
