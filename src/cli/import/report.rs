//! What an import did so far: what is wrong in a file for people, and how far it came in one for whoever goes on.

use std::{
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Seek, SeekFrom},
    ops::Add,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

use super::{Failed, beside, columns::Columns, source::Bad};
use crate::{cli::cells::write_cell, rpc::proto::ImportCustomersResponse};

/// What became of the rows of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    created: i64,
    updated: i64,
    unchanged: i64,
    skipped: i64,
    rejected: i64,
    /// Rows that were not sent, as nothing can be made of them.
    unread: i64,
    consents_recorded: i64,
    consents_unchanged: i64,
    consents_rejected: i64,
}

/// How far an import came.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    /// Of the file: so that nobody goes on in another one.
    bytes: u64,
    modified: u128,
    /// How it was to be read.
    asked: String,
    /// All up to this line is done.
    line: i64,
    /// How much of the file of errors is about that.
    errors: u64,
    told: Told,
}

/// What an import did so far.
pub struct Report {
    path: PathBuf,
    state: State,
    /// What was done before this stream began.
    before: Told,
    /// Rows that this stream was answered for.
    received: i64,
    errors_path: PathBuf,
    errors: Option<csv::Writer<File>>,
    /// Nothing is kept of a dry run.
    is_dry: bool,
}

impl Told {
    /// How many rows there were.
    pub fn rows(self) -> u64 {
        let rows = self.created + self.updated + self.unchanged + self.skipped + self.rejected + self.unread;
        u64::try_from(rows).unwrap_or_default()
    }

    /// Whether nothing was wrong.
    pub fn is_clean(self) -> bool {
        self.rejected + self.unread + self.consents_rejected == 0
    }

    /// For people.
    pub fn sentence(self, file: &str, errors: &Path) -> String {
        let count = |count: i64| HumanCount(u64::try_from(count).unwrap_or_default());
        let mut text = format!(
            "{file}: {} rows: {} created, {} updated, {} unchanged, {} skipped, {} wrong",
            HumanCount(self.rows()),
            count(self.created),
            count(self.updated),
            count(self.unchanged),
            count(self.skipped),
            count(self.rejected + self.unread),
        );
        let [recorded, unchanged, rejected] =
            [self.consents_recorded, self.consents_unchanged, self.consents_rejected].map(count);
        if self.consents_recorded + self.consents_unchanged + self.consents_rejected > 0 {
            text.push_str(&format!("\nconsents: {recorded} recorded, {unchanged} unchanged, {rejected} refused"));
        }
        if !self.is_clean() {
            text.push_str(&format!("\n{} says what is wrong", errors.display()));
        }
        text
    }
}

impl Add<&ImportCustomersResponse> for Told {
    type Output = Self;

    fn add(self, more: &ImportCustomersResponse) -> Self {
        Self {
            created: self.created + more.created,
            updated: self.updated + more.updated,
            unchanged: self.unchanged + more.unchanged,
            skipped: self.skipped + more.skipped,
            rejected: self.rejected + more.rejected,
            unread: self.unread,
            consents_recorded: self.consents_recorded + more.consents_recorded,
            consents_unchanged: self.consents_unchanged + more.consents_unchanged,
            consents_rejected: self.consents_rejected + more.consents_rejected,
        }
    }
}

impl Report {
    /// Begins, or goes on where the last import of this file was interrupted.
    pub fn open(
        file: &Path,
        metadata: &Metadata,
        asked: String,
        errors: &Path,
        restart: bool,
        is_dry: bool,
    ) -> Result<Self, Failed> {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.unwrap_or_default().as_nanos();
        let mut state = State { bytes: metadata.len(), modified, asked, line: 0, errors: 0, told: Told::default() };
        let path = beside(file, "import.json");
        if restart || is_dry {
            // A dry run leaves what was interrupted alone.
        } else if let Ok(kept) = fs::read_to_string(&path) {
            state = resume(file, &path, &kept, state)?;
        }
        let mut report =
            Self { path, before: state.told, state, received: 0, errors_path: errors.to_owned(), errors: None, is_dry };
        if report.state.line == 0 {
            match fs::remove_file(errors) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(report.unwritable(error)),
                _ => {}
            }
        }
        report.cut_errors()?;
        Ok(report)
    }

    /// All up to this line is done.
    pub fn line(&self) -> i64 {
        self.state.line
    }

    /// How many rows this stream was answered for.
    pub fn received(&self) -> i64 {
        self.received
    }

    /// What was done so far, before this stream too.
    pub fn told(&self) -> Told {
        self.state.told
    }

    /// Keeps what an answer says, and what is wrong with rows between those that it is about.
    pub fn answered(
        &mut self,
        answer: &ImportCustomersResponse,
        columns: &Columns,
        bads: &[Bad],
    ) -> Result<(), Failed> {
        let told = answer.errors.iter().map(|one| (one.row, columns.column_of(&one.field), one.description.as_str()));
        let unread = bads.iter().flat_map(|bad| bad.wrong.iter().map(|cell| (bad.line, cell)));
        let unread = unread.map(|(line, cell)| (line, cell.column.clone(), cell.sentence.as_str()));
        let mut errors: Vec<_> = told.chain(unread).collect();
        errors.sort_by_key(|(line, ..)| *line);
        for (line, column, sentence) in errors {
            self.write(line, &column, sentence)?;
        }
        self.state.told.unread += i64::try_from(bads.len()).unwrap_or(i64::MAX);
        self.received = answer.received;
        self.state.line = answer.last_row;
        self.state.told = Told { unread: self.state.told.unread, ..self.before + answer };
        self.save()
    }

    /// Keeps what is wrong with a row that was not sent.
    pub fn unread(&mut self, bad: &Bad) -> Result<(), Failed> {
        for cell in &bad.wrong {
            self.write(bad.line, &cell.column, &cell.sentence)?;
        }
        self.state.told.unread += 1;
        self.state.line = self.state.line.max(bad.line);
        Ok(())
    }

    /// Everything is done: nobody needs to go on.
    pub fn finish(mut self) -> Result<Told, Failed> {
        self.flush()?;
        if !self.is_dry {
            let _ = fs::remove_file(&self.path);
        }
        Ok(self.state.told)
    }

    /// What was written after the state was kept is written again.
    fn cut_errors(&mut self) -> Result<(), Failed> {
        if self.state.errors == 0 {
            return Ok(());
        }
        let cut = || {
            let mut file = OpenOptions::new().write(true).open(&self.errors_path)?;
            file.set_len(self.state.errors)?;
            file.seek(SeekFrom::End(0))?;
            Ok(file)
        };
        let file = cut().map_err(|error| self.unwritable(error))?;
        self.errors = Some(writer(file));
        Ok(())
    }

    fn write(&mut self, line: i64, column: &str, sentence: &str) -> Result<(), Failed> {
        let (errors_path, errors) = (&self.errors_path, &mut self.errors);
        let unwritable = |error: io::Error| Failed::Unwritable(errors_path.display().to_string(), error);
        let writer = match errors {
            Some(writer) => writer,
            none => {
                let mut new = writer(File::create(errors_path).map_err(unwritable)?);
                new.write_record(["line", "column", "error"]).map_err(|error| unwritable(error.into()))?;
                none.insert(new)
            }
        };
        let record = [&*line.to_string(), &write_cell(column), &write_cell(sentence)];
        writer.write_record(record).map_err(|error| unwritable(error.into()))
    }

    fn flush(&mut self) -> Result<(), Failed> {
        let Some(writer) = &mut self.errors else { return Ok(()) };
        let flushed = writer.flush().and_then(|()| writer.get_ref().metadata());
        self.state.errors = flushed.map_err(|error| self.unwritable(error))?.len();
        Ok(())
    }

    /// Errors first: what a state says is there.
    fn save(&mut self) -> Result<(), Failed> {
        self.flush()?;
        if self.is_dry {
            return Ok(());
        }
        let write = || {
            let text = serde_json::to_string(&self.state).map_err(io::Error::other)?;
            let new = self.path.with_extension("json.new");
            fs::write(&new, text)?;
            fs::rename(&new, &self.path)
        };
        write().map_err(|error| Failed::Unwritable(self.path.display().to_string(), error))
    }

    fn unwritable(&self, error: io::Error) -> Failed {
        Failed::Unwritable(self.errors_path.display().to_string(), error)
    }
}

fn writer(file: File) -> csv::Writer<File> {
    csv::WriterBuilder::new().from_writer(file)
}

/// The state that was kept, if it is of the same file, read in the same way.
fn resume(file: &Path, path: &Path, kept: &str, now: State) -> Result<State, Failed> {
    let restart = "--restart begins from the first row, which does nothing twice";
    let told = |what: &str| {
        let file = file.display();
        Failed::Changed(format!("an import of {file} was interrupted, {what}: {restart}"))
    };
    let kept: State = serde_json::from_str(kept).map_err(|_| told(&format!("but {} is broken", path.display())))?;
    if (kept.bytes, kept.modified) != (now.bytes, now.modified) {
        return Err(told(&format!("after line {}, and the file has changed since", kept.line)));
    }
    if kept.asked != now.asked {
        return Err(told(&format!("after line {}, with other options", kept.line)));
    }
    Ok(kept)
}
