use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Envelope, Outcome, Refusal};

/// Writes each letter as a file, so that real mail can be seen without a server.
#[derive(Debug, Clone)]
pub struct Folder(Arc<PathBuf>);

impl Folder {
    /// Opens the folder, and makes it if there is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        Ok(Self(Arc::new(path.to_owned())))
    }

    /// Writes `name`.eml: whole or not at all. It survives a crash of this process; a power cut may take the last ones, as
    /// nothing waits for the disk here. Above the letter stands where it bounces to, as whoever delivers a letter for good writes
    /// it (RFC 5321, 4.4).
    pub async fn hand_over(&self, envelope: Envelope<'_>) -> Outcome {
        let folder = Arc::clone(&self.0);
        let (name, return_path) = (envelope.name.to_owned(), format!("Return-Path: <{}>\r\n", envelope.from));
        let letter = [return_path.as_bytes(), envelope.letter].concat();
        let written = tokio::task::spawn_blocking(move || write(&folder, &name, &letter)).await;
        match written {
            Ok(Ok(())) => Outcome::Accepted,
            Ok(Err(error)) => refusal(&self.0, &error),
            Err(_) => Outcome::Unknown { detail: "writing was interrupted".to_owned() },
        }
    }
}

fn write(folder: &Path, name: &str, letter: &[u8]) -> io::Result<()> {
    let (hidden, shown) = (folder.join(format!(".{name}.part")), folder.join(format!("{name}.eml")));
    fs::write(&hidden, letter)?;
    fs::rename(&hidden, &shown)
}

/// A letter that is too large for the file system, or cannot be named in it, stays so; everything else may pass.
fn refusal(folder: &Path, error: &io::Error) -> Outcome {
    let detail = format!("folder {}: {error}", folder.display());
    match error.kind() {
        io::ErrorKind::FileTooLarge | io::ErrorKind::InvalidFilename => Outcome::Never(Refusal::plain(detail)),
        _ => Outcome::Later(Refusal::plain(detail)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn hand_over(folder: &Folder, name: &str, letter: &str) -> Outcome {
        let address = "anna@example.com".parse().unwrap();
        folder.hand_over(Envelope { name, from: &address, to: &address, letter: letter.as_bytes() }).await
    }

    #[tokio::test]
    async fn a_letter_becomes_one_file_however_often_it_is_handed_over() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("a/b")).unwrap();
        for letter in ["first", "second"] {
            assert_eq!(hand_over(&folder, "cnt_1", letter).await, Outcome::Accepted);
        }
        let files: Vec<_> =
            fs::read_dir(place.path().join("a/b")).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(files, ["cnt_1.eml"]);
        assert_eq!(
            fs::read_to_string(place.path().join("a/b/cnt_1.eml")).unwrap(),
            "Return-Path: <anna@example.com>\r\nsecond"
        );
    }

    #[tokio::test]
    async fn a_folder_that_vanished_may_come_back_and_a_name_that_is_too_long_stays_so() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(&place.path().join("gone")).unwrap();
        let outcome = hand_over(&folder, &"x".repeat(300), "letter").await;
        assert!(matches!(outcome, Outcome::Never(_)), "{outcome:?}");
        fs::remove_dir(place.path().join("gone")).unwrap();
        let outcome = hand_over(&folder, "cnt_1", "letter").await;
        assert!(matches!(outcome, Outcome::Later(_)), "{outcome:?}");
    }
}
