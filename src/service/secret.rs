use std::{
    fs,
    io::{self, Write},
    path::Path,
};

use crate::{ids, tokens::SecretKey};

/// Reads the key, or makes one that only its owner can read.
pub fn keep_secret(path: &Path) -> io::Result<SecretKey> {
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() >= 32 => return Ok(SecretKey::from_text(text.trim())),
        Ok(_) => return Err(io::Error::other("it holds less than 32 characters")),
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text: String = ids::random_key().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    Ok(SecretKey::from_text(&text))
}
