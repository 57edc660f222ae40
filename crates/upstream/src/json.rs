//! JSON as it is met in the wild.

use std::borrow::Cow;

/// Replaces escaped surrogates that have no other half by U+FFFD: they are no text, and strict readers
/// refuse the document that holds them.
#[must_use]
pub fn mend_surrogates(json: &str) -> Cow<'_, str> {
    let (mut mended, mut done) = (String::new(), 0);
    let mut at = 0;
    let bytes = json.as_bytes();
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&byte| byte == b'\\')) {
        let start = at + found;
        at = match unit(bytes, start) {
            Some(0xd800..=0xdbff) if matches!(unit(bytes, start + 6), Some(0xdc00..=0xdfff)) => start + 12,
            Some(0xd800..=0xdfff) => {
                mended.push_str(&json[done..start]);
                mended.push_str("\\ufffd");
                done = start + 6;
                done
            }
            Some(_) => start + 6,
            // Any other escape is a backslash and one character.
            None => start + 2,
        };
    }
    if done == 0 {
        return Cow::Borrowed(json);
    }
    mended.push_str(&json[done..]);
    Cow::Owned(mended)
}

/// The UTF-16 unit that is escaped at `at`.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// Reads JSON; text with halves of surrogates is mended first.
///
/// # Errors
/// As `serde_json::from_slice`.
pub fn read<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(json).or_else(|error| match std::str::from_utf8(json).map(mend_surrogates) {
        Ok(Cow::Owned(mended)) => serde_json::from_str(&mended),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lone_halves_are_replaced() {
        let cases = [
            (r#""\ud83d\ude00 \u00e9 \\ud800 \n""#, r#""\ud83d\ude00 \u00e9 \\ud800 \n""#),
            (r#""\ud83d""#, r#""\ufffd""#),
            (r#""\ude00\ud83d\ude00\ud83d""#, r#""\ufffd\ud83d\ude00\ufffd""#),
            (r#""\ud83d\u00e9é""#, r#""\ufffd\u00e9é""#),
            (r#""\"#, r#""\"#),
        ];
        for (json, mended) in cases {
            assert_eq!(mend_surrogates(json), mended, "{json}");
        }
        assert_eq!(read::<String>(br#""a\ud800""#).unwrap(), "a\u{fffd}");
        read::<String>(b"nonsense").unwrap_err();
    }
}
