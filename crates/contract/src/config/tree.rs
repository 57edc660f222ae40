//! A YAML document as a tree that knows where each part of it stands in the text.

use saphyr::{Scalar, ScalarStyle};
use saphyr_parser::{Event, Marker, Parser, Span, Tag};
use std::borrow::Cow;
use std::collections::HashMap;
use std::ops::Range;

/// Nodes that aliases may add; more is a bomb, not a config.
const MAX_ALIASED_NODES: usize = 100_000;
/// Levels of nesting; more is no config either.
const MAX_DEPTH: usize = 100;

/// A place in the text, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in characters.
    pub(super) column: usize,
}

/// One value.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    /// Its bytes in the text. A block collection ends with its last entry; of an alias, the alias itself.
    pub(super) span: Range<usize>,
    pub(super) data: Data,
    /// Written as `*name`: the data stands elsewhere.
    pub(super) alias: bool,
    /// A text written with `|` or `>`: the span is that of its lines.
    pub(super) block: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Map),
}

/// A table.
#[derive(Debug, Clone, Default)]
pub(super) struct Map {
    pub(super) entries: Vec<Entry>,
    /// Written as `{…}`.
    pub(super) flow: bool,
    /// Where it ends, a closing brace included.
    pub(super) end: usize,
}

/// One key of a table, with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) key_span: Range<usize>,
    pub(super) value: Node,
    /// Taken over from another table by `<<`: its places are there.
    pub(super) merged: bool,
}

impl Map {
    pub(super) fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Something wrong with the YAML itself.
#[derive(Debug, Clone)]
pub(super) struct Flaw {
    pub(super) at: Position,
    pub(super) message: String,
}

impl Flaw {
    fn new(at: Marker, message: impl Into<String>) -> Self {
        Self { at: position(at), message: message.into() }
    }
}

/// Reads `text`. `Ok(None)` when there is no document in it. Flaws that leave the rest readable
/// (keys given twice) are added to `flaws`.
pub(super) fn parse(text: &str, flaws: &mut Vec<Flaw>) -> Result<Option<Node>, Flaw> {
    let mut builder = Builder {
        text,
        offsets: offsets(text),
        flaws,
        open: Vec::new(),
        anchors: HashMap::new(),
        aliased: 0,
        root: None,
    };
    for item in Parser::new_from_str(text) {
        let (event, span) = item.map_err(|e| broken(text, &e))?;
        builder.take(event, span)?;
    }
    Ok(builder.root)
}

fn broken(text: &str, error: &saphyr_parser::ScanError) -> Flaw {
    let at = position(*error.marker());
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let indent = line.get(..line.len() - line.trim_start().len()).unwrap_or_default();
    let tabs = if indent.contains('\t') { " (this line is indented with a tab: use spaces)" } else { "" };
    Flaw { at, message: format!("this is not YAML: {}{tabs}", error.info()) }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}

/// Byte offset of every character, and the end: the parser counts characters.
fn offsets(text: &str) -> Vec<usize> {
    text.char_indices().map(|(at, _)| at).chain([text.len()]).collect()
}

/// A collection that is not yet closed.
struct Open {
    node: Node,
    anchor: usize,
    /// In a map: the key whose value comes next.
    key: Option<(String, Position, Range<usize>)>,
}

struct Builder<'t, 'f> {
    text: &'t str,
    offsets: Vec<usize>,
    flaws: &'f mut Vec<Flaw>,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    aliased: usize,
    root: Option<Node>,
}

impl Builder<'_, '_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Flaw> {
        let at = position(span.start);
        let bytes = self.bytes(span);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => Err(Flaw::new(
                span.start,
                "a second document starts here, and a config is one document: remove this `---` or what precedes it",
            )),
            Event::DocumentStart(_) => Ok(()),
            Event::SequenceStart(anchor, _) => self.open(at, bytes, Data::List(Vec::new()), anchor, span),
            Event::MappingStart(anchor, _) => self.open(at, bytes, Data::Map(Map::default()), anchor, span),
            Event::SequenceEnd | Event::MappingEnd => self.close(&bytes, span),
            Event::Scalar(text, style, anchor, tag) => {
                let span_in_text = self.scalar_span(bytes, style);
                let data = scalar(text, style, tag.as_ref()).ok_or_else(|| {
                    Flaw::new(span.start, "this value is not what its `!!` tag says: remove the tag")
                })?;
                let block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
                self.add(Node { at, span: span_in_text, data, alias: false, block }, anchor, span)
            }
            Event::Alias(id) => {
                let Some(original) = self.anchors.get(&id) else {
                    return Err(Flaw::new(span.start, "this alias stands inside of what it names"));
                };
                self.aliased = self.aliased.saturating_add(size(original));
                if self.aliased > MAX_ALIASED_NODES {
                    return Err(Flaw::new(span.start, "the aliases of this file add up to too many values"));
                }
                let node = Node { at, span: bytes, data: original.data.clone(), alias: true, block: false };
                self.add(node, 0, span)
            }
        }
    }

    fn bytes(&self, span: Span) -> Range<usize> {
        let offset = |at: usize| self.offsets.get(at).copied().unwrap_or(self.text.len());
        offset(span.start.index())..offset(span.end.index())
    }

    /// The parser's span of a quoted scalar goes on to the end of a comment behind it: here it ends
    /// with the closing quote.
    fn scalar_span(&self, span: Range<usize>, style: ScalarStyle) -> Range<usize> {
        let text = self.text.get(span.clone()).unwrap_or_default();
        let end = match style {
            ScalarStyle::SingleQuoted => quoted_end(text, '\''),
            ScalarStyle::DoubleQuoted => quoted_end(text, '"'),
            _ => text.trim_end().len(),
        };
        span.start..span.start + end
    }

    fn open(
        &mut self,
        at: Position,
        span: Range<usize>,
        data: Data,
        anchor: usize,
        mark: Span,
    ) -> Result<(), Flaw> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Flaw::new(mark.start, format!("this is nested more than {MAX_DEPTH} levels deep")));
        }
        self.open.push(Open { node: Node { at, span, data, alias: false, block: false }, anchor, key: None });
        Ok(())
    }

    fn close(&mut self, closing: &Range<usize>, mark: Span) -> Result<(), Flaw> {
        let Some(Open { mut node, anchor, .. }) = self.open.pop() else { return Ok(()) };
        // A flow collection is closed by a character, a block by what comes after it.
        let flow = !closing.is_empty();
        node.span.end = match &mut node.data {
            _ if flow => closing.end,
            Data::Map(map) => map.entries.last().map_or(node.span.end, |entry| entry.end()),
            Data::List(items) => items.last().map_or(node.span.end, |item| item.span.end),
            _ => node.span.end,
        };
        if let Data::Map(map) = &mut node.data {
            map.flow = flow;
            map.end = node.span.end;
            merge(map);
        }
        self.add(node, anchor, mark)
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node, anchor: usize, mark: Span) -> Result<(), Flaw> {
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let path = self.path();
        let Some(parent) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut parent.node.data {
            Data::List(items) => items.push(node),
            Data::Map(map) => match parent.key.take() {
                None => {
                    let text = self.text.get(node.span.clone()).unwrap_or_default();
                    let key = match node.data {
                        Data::Text(key) => key,
                        Data::List(_) | Data::Map(_) => {
                            return Err(Flaw::new(mark.start, "a key must be a word, not a list or a table"));
                        }
                        _ => text.to_owned(),
                    };
                    parent.key = Some((key, node.at, node.span));
                }
                Some((key, at, key_span)) => match map.get(&key) {
                    Some(first) if key != MERGE => self.flaws.push(Flaw {
                        at,
                        message: format!(
                            "the key {path} is here for the second time (first in line {}): remove one of them",
                            first.at.line
                        ),
                    }),
                    _ => map.entries.push(Entry { key, at, key_span, value: node, merged: false }),
                },
            },
            _ => {}
        }
        Ok(())
    }

    /// The key path of the value that comes next, for messages.
    fn path(&self) -> String {
        let keys = self.open.iter().filter_map(|open| open.key.as_ref().map(|(key, ..)| key.as_str()));
        keys.collect::<Vec<_>>().join(".")
    }
}

impl Entry {
    /// Where the entry ends: with its value, or with its key when the value is left out.
    pub(super) fn end(&self) -> usize {
        self.value.span.end.max(self.key_span.end)
    }
}

/// The key that takes over the entries of another table.
const MERGE: &str = "<<";

/// Replaces `<<: *other` by the entries of `other` that the table does not have itself.
fn merge(map: &mut Map) {
    let taken = map.entries.extract_if(.., |entry| entry.key == MERGE).collect::<Vec<_>>();
    for value in taken.into_iter().map(|entry| entry.value) {
        let tables = if let Data::List(items) = value.data { items } else { vec![value] };
        for table in tables {
            let Data::Map(other) = table.data else { continue };
            for entry in other.entries {
                if map.get(&entry.key).is_none() {
                    map.entries.push(Entry { merged: true, ..entry });
                }
            }
        }
    }
}

/// How long a quoted scalar is, its anchor and tag included.
fn quoted_end(text: &str, quote: char) -> usize {
    let mut characters = text.char_indices().skip_while(|(_, c)| *c != quote).skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        if c == '\\' && quote == '"' {
            characters.next();
        } else if c == quote {
            if quote == '\'' && characters.peek().is_some_and(|(_, next)| *next == quote) {
                characters.next();
            } else {
                return at + 1;
            }
        }
    }
    text.len()
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> Option<Data> {
    Some(match Scalar::parse_from_cow_and_metadata(text, style, tag)? {
        Scalar::Null => Data::Null,
        Scalar::Boolean(value) => Data::Bool(value),
        Scalar::Integer(value) => Data::Int(value),
        Scalar::FloatingPoint(value) => Data::Float(value.into_inner()),
        Scalar::String(value) => Data::Text(value.into_owned()),
    })
}

/// What a plain scalar with this text is.
pub(super) fn plain(text: &str) -> Data {
    scalar(Cow::Borrowed(text), ScalarStyle::Plain, None).unwrap_or(Data::Null)
}

/// How many nodes a tree has.
fn size(node: &Node) -> usize {
    1 + match &node.data {
        Data::List(items) => items.iter().map(size).sum(),
        Data::Map(map) => map.entries.iter().map(|entry| size(&entry.value)).sum(),
        _ => 0,
    }
}
