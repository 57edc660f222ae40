//! The names of an archive's members: each stays below, and each is one file on every system.

use std::collections::HashMap;
use std::path::PathBuf;

/// The names so far: in lower case, with the spelling and whether it is a folder.
#[derive(Default)]
pub(super) struct Names(HashMap<String, (String, bool)>);

impl Names {
    /// Takes a member's name. A folder may come again; the archive's own root is an empty path.
    ///
    /// # Errors
    /// Says what is wrong with the name, or with which earlier one it clashes.
    pub(super) fn add(&mut self, name: &[u8], is_folder: bool) -> Result<PathBuf, String> {
        let Ok(name) = std::str::from_utf8(name) else {
            let shown = String::from_utf8_lossy(name);
            return Err(format!("has a member whose name is not UTF-8: '{}'", shown.escape_debug()));
        };
        let shown = name.escape_debug();
        if name.starts_with('/') || name.get(1..3) == Some(":/") {
            return Err(format!("'{shown}' has an absolute path"));
        }
        if name.contains('\\') {
            return Err(format!("'{shown}' has a backslash, which some systems take for a separator"));
        }
        if name.chars().any(char::is_control) {
            return Err(format!("'{shown}' has a control character in its name"));
        }
        let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        if parts.contains(&"..") {
            return Err(format!("'{shown}' would leave the folder it is unpacked into"));
        }
        if parts.is_empty() && !is_folder {
            return Err("has a file without a name".into());
        }
        let mut path = String::new();
        for (i, part) in parts.iter().enumerate() {
            if i > 0 {
                path.push('/');
            }
            path.push_str(part);
            let is_last = i + 1 == parts.len();
            self.add_one(&path, is_folder || !is_last, is_last && !is_folder)?;
        }
        Ok(PathBuf::from(path))
    }

    /// `is_new`: a second one is an error.
    fn add_one(&mut self, path: &str, is_folder: bool, is_new: bool) -> Result<(), String> {
        let Some((known, known_folder)) = self.0.get(&path.to_lowercase()) else {
            self.0.insert(path.to_lowercase(), (path.to_owned(), is_folder));
            return Ok(());
        };
        if known != path {
            Err(format!("'{path}' and '{known}' are one name where case does not count"))
        } else if *known_folder != is_folder {
            Err(format!("'{path}' is both a file and a folder"))
        } else if is_new {
            Err(format!("has two members of one name: '{path}'"))
        } else {
            Ok(())
        }
    }
}
