//! What typing a key sends: tmux's key names, and the sequences its `xterm`-like terminals send.

/// The bytes that `keys` stands for: those of a key when the whole string is a key's name, else the text itself.
pub(super) fn encode(keys: &str, application_cursor: bool) -> Vec<u8> {
    key(keys, application_cursor).unwrap_or_else(|| keys.as_bytes().to_vec())
}

#[derive(Debug, Clone, Copy, Default)]
struct Modifiers {
    shift: bool,
    meta: bool,
    control: bool,
}

impl Modifiers {
    /// xterm's number for a combination, from 2; nothing for none.
    fn number(self) -> Option<u8> {
        let bits = u8::from(self.shift) | u8::from(self.meta) << 1 | u8::from(self.control) << 2;
        (bits > 0).then_some(bits + 1)
    }
}

/// A key after its modifiers.
enum Base {
    Character(char),
    /// A cursor key, by its sequence's final letter.
    Cursor(char),
    /// A key whose sequence ends in a tilde, by its number.
    Tilde(u8),
    /// F1 to F4, by the final letter.
    Function(char),
    /// Home and End: their number, and the letter that is sent with modifiers.
    Edge(u8, char),
    /// A key that sends this.
    Fixed(&'static str),
}

fn key(name: &str, application_cursor: bool) -> Option<Vec<u8>> {
    let (modifiers, rest) = modifiers(name)?;
    let base = match named(rest) {
        Some(base) => base,
        None => {
            let mut characters = rest.chars();
            let only = characters.next().filter(|_| characters.as_str().is_empty())?;
            // A single character without modifiers is its own text.
            modifiers.number()?;
            Base::Character(only)
        }
    };
    encode_base(&base, modifiers, application_cursor)
}

/// Takes `C-`, `M-`, `S-` and `^` off the front.
fn modifiers(name: &str) -> Option<(Modifiers, &str)> {
    let mut modifiers = Modifiers::default();
    let mut rest = name;
    if let Some(after) = rest.strip_prefix('^').filter(|after| !after.is_empty()) {
        modifiers.control = true;
        rest = after;
    }
    loop {
        let mut characters = rest.chars();
        let (first, second) = (characters.next()?, characters.next());
        if second != Some('-') {
            return Some((modifiers, rest));
        }
        match first.to_ascii_uppercase() {
            'C' => modifiers.control = true,
            'M' => modifiers.meta = true,
            'S' => modifiers.shift = true,
            _ => return None,
        }
        rest = characters.as_str();
    }
}

fn named(name: &str) -> Option<Base> {
    Some(match name.to_ascii_lowercase().as_str() {
        "up" => Base::Cursor('A'),
        "down" => Base::Cursor('B'),
        "right" => Base::Cursor('C'),
        "left" => Base::Cursor('D'),
        "home" => Base::Edge(1, 'H'),
        "end" => Base::Edge(4, 'F'),
        "ic" | "insert" => Base::Tilde(2),
        "dc" | "delete" => Base::Tilde(3),
        "ppage" | "pageup" | "pgup" => Base::Tilde(5),
        "npage" | "pagedown" | "pgdn" => Base::Tilde(6),
        "f1" => Base::Function('P'),
        "f2" => Base::Function('Q'),
        "f3" => Base::Function('R'),
        "f4" => Base::Function('S'),
        "f5" => Base::Tilde(15),
        "f6" => Base::Tilde(17),
        "f7" => Base::Tilde(18),
        "f8" => Base::Tilde(19),
        "f9" => Base::Tilde(20),
        "f10" => Base::Tilde(21),
        "f11" => Base::Tilde(23),
        "f12" => Base::Tilde(24),
        "btab" => Base::Fixed("\x1b[Z"),
        "space" => Base::Character(' '),
        "bspace" => Base::Character('\x7f'),
        "tab" => Base::Character('\t'),
        "enter" => Base::Character('\r'),
        "escape" => Base::Character('\x1b'),
        "kp/" => Base::Fixed("/"),
        "kp*" => Base::Fixed("*"),
        "kp-" => Base::Fixed("-"),
        "kp+" => Base::Fixed("+"),
        "kp." => Base::Fixed("."),
        "kp0" => Base::Fixed("0"),
        "kp1" => Base::Fixed("1"),
        "kp2" => Base::Fixed("2"),
        "kp3" => Base::Fixed("3"),
        "kp4" => Base::Fixed("4"),
        "kp5" => Base::Fixed("5"),
        "kp6" => Base::Fixed("6"),
        "kp7" => Base::Fixed("7"),
        "kp8" => Base::Fixed("8"),
        "kp9" => Base::Fixed("9"),
        "kpenter" => Base::Fixed("\n"),
        _ => return None,
    })
}

fn encode_base(base: &Base, modifiers: Modifiers, application_cursor: bool) -> Option<Vec<u8>> {
    let sequence = match (base, modifiers.number()) {
        (Base::Character(character), _) => return encode_character(*character, modifiers),
        (Base::Fixed(sequence), _) => return simple(sequence, "", modifiers),
        (Base::Cursor(letter), None) if application_cursor => format!("\x1bO{letter}"),
        (Base::Cursor(letter), None) => format!("\x1b[{letter}"),
        (Base::Function(letter), None) => format!("\x1bO{letter}"),
        (Base::Edge(number, _) | Base::Tilde(number), None) => format!("\x1b[{number}~"),
        (Base::Cursor(letter) | Base::Function(letter) | Base::Edge(_, letter), Some(modifier)) => {
            format!("\x1b[1;{modifier}{letter}")
        }
        (Base::Tilde(number), Some(modifier)) => format!("\x1b[{number};{modifier}~"),
    };
    Some(sequence.into_bytes())
}

fn encode_character(character: char, mut modifiers: Modifiers) -> Option<Vec<u8>> {
    if !character.is_ascii() {
        let meta = Modifiers { meta: modifiers.meta, ..Modifiers::default() };
        return simple(character.encode_utf8(&mut [0; 4]), "", meta);
    }
    let mut sent = character;
    // These have no control character of their own.
    if modifiers.control && !"!#()+,-.0123456789:;<=>'\r\t\x1b\x7f`/".contains(character) {
        modifiers.control = false;
        sent = match character {
            'a'..='z' | '@'..='_' => char::from(character as u8 & 0x1f),
            ' ' => '\0',
            '?' => '\x7f',
            _ => return None,
        };
    }
    let with_control = match character {
        '2' => "\0",
        '6' => "\x1e",
        '-' | '/' => "\x1f",
        _ => "",
    };
    simple(sent.encode_utf8(&mut [0; 4]), with_control, modifiers)
}

/// For keys that know Meta, and Ctrl only alone; other names are no keys, but text.
fn simple(plain: &str, with_control: &str, modifiers: Modifiers) -> Option<Vec<u8>> {
    let sent = match modifiers {
        Modifiers { shift: false, meta: false, control: false } => plain.to_owned(),
        Modifiers { shift: false, meta: true, control: false } => format!("\x1b{plain}"),
        Modifiers { shift: false, meta: false, control: true } => with_control.to_owned(),
        _ => return None,
    };
    Some(sent.into_bytes())
}
