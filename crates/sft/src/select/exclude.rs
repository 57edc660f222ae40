//! Repositories whose tasks never enter training data.

use crate::{ConvertError, ExcludeList};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use trajgen_contract::files::FileError;

/// The shipped list: the repositories of public evaluation sets, test splits.
const SHIPPED: &str = include_str!("../../data/eval_repos.txt");

/// A list of repositories, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Excluded {
    /// `owner__repo`, lower-cased.
    names: HashSet<String>,
    /// The list's text, for the signature.
    pub(crate) text: String,
}

impl Excluded {
    pub(crate) fn read(list: &ExcludeList) -> Result<Self, ConvertError> {
        match list {
            ExcludeList::Disabled => Ok(Self::default()),
            ExcludeList::Default => Self::parse(SHIPPED.to_owned()).map_err(|(line, found)| {
                ConvertError::Setting { key: "exclude list", problem: format!("line {line}: '{found}'") }
            }),
            ExcludeList::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|e| unreadable(path, e))?;
                Self::parse(text).map_err(|(line, found)| ConvertError::Malformed {
                    path: path.clone(),
                    problem: format!("line {line}: '{found}' is no owner/repo"),
                })
            }
        }
    }

    /// Reads one `owner/repo` per line; the error is the line's number and text. A line that cannot be read
    /// is not passed over: it may stand for a repository that must stay out.
    fn parse(text: String) -> Result<Self, (usize, String)> {
        let mut names = HashSet::new();
        for (number, line) in text.lines().enumerate() {
            let entry = line.split('#').next().unwrap_or_default().trim();
            if entry.is_empty() {
                continue;
            }
            match entry.split_once('/') {
                Some((owner, repo))
                    if !owner.is_empty()
                        && !repo.is_empty()
                        && !repo.contains('/')
                        && !entry.contains(char::is_whitespace) =>
                {
                    names.insert(format!("{owner}__{repo}").to_lowercase());
                }
                _ => return Err((number + 1, entry.to_owned())),
            }
        }
        Ok(Self { names, text })
    }

    /// Whether an instance id is `owner__repo-<digits>`, perhaps with `__<word>`, of a listed repository.
    pub(crate) fn contains(&self, instance_id: &str) -> bool {
        let id = instance_id.to_lowercase();
        // What follows the last `-`, which neither the digits nor the word can hold.
        let Some((name, rest)) = id.rsplit_once('-') else { return false };
        let (digits, word) = match rest.split_once("__") {
            Some((digits, word)) => (digits, Some(word)),
            None => (rest, None),
        };
        let is_word = |w: &str| !w.is_empty() && w.chars().all(|c| c.is_alphanumeric() || c == '_');
        !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && word.is_none_or(is_word)
            && self.names.contains(name)
    }
}

/// A path that leads to no list is a wrong setting; a list that this host does not give is its trouble.
fn unreadable(path: &Path, error: io::Error) -> ConvertError {
    use io::ErrorKind as K;
    match error.kind() {
        K::NotFound | K::NotADirectory | K::IsADirectory | K::InvalidData => ConvertError::Setting {
            key: "exclude_repos_file",
            problem: format!("{}: {error}; expected a text file with one owner/repo a line", path.display()),
        },
        _ => FileError::at("read", path)(error).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_list_names_64_repositories() {
        let list = Excluded::read(&ExcludeList::Default).unwrap();
        assert_eq!(list.names.len(), 64);
        for id in [
            "django__django-11099",
            "Django__DJANGO-1",
            "astropy__astropy-12907__verified",
            "mrdoob__three.js-25687",
            "NodeBB__NodeBB-1",
            "scikit-learn__scikit-learn-10297__a_b1",
        ] {
            assert!(list.contains(id), "{id}");
        }
        for id in [
            "django__django",
            "django__django-",
            "django__django-11a",
            "django__django-11099__",
            "django__django-11099__a-b",
            "django__django-11099-1",
            "xdjango__django-1",
            "django__djangox-1",
            "django-1",
            "hello-world",
            "",
        ] {
            assert!(!list.contains(id), "{id}");
        }
    }

    #[test]
    fn a_disabled_list_excludes_nothing() {
        assert!(!Excluded::read(&ExcludeList::Disabled).unwrap().contains("django__django-11099"));
    }

    #[test]
    fn a_file_is_read_with_comments_and_a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("list.txt");
        std::fs::write(&path, "# mine\r\n\r\nOwner/Repo # why\r\n").unwrap();
        let list = Excluded::read(&ExcludeList::File(path.clone())).unwrap();
        assert!(list.contains("owner__repo-1") && !list.contains("django__django-1"));
        std::fs::write(&path, "a/b\nhttps://x/a/b\n").unwrap();
        let error = Excluded::read(&ExcludeList::File(path.clone())).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("list.txt"), "{error}");
        std::fs::remove_file(&path).unwrap();
        assert!(Excluded::read(&ExcludeList::File(path)).is_err());
    }
}
