//! Objects of the API as trees: JSON is YAML, and so they are read as a text is. Where a node of a text
//! knows its place in the text, one of an object knows its number, and [`Paths`] the path to it.

use serde_json::Value as Json;

use super::place::Place;
use super::tree::{Node, Scalar, Style, Value};

/// More than any object of 256 KiB that somebody wrote: 10,000 entries of `addresses` fit in.
const MAX_NODES: usize = 20_000;
/// `spec.nodeSelectors[0].matchExpressions[0].values[0]` are nine levels.
const MAX_DEPTH: usize = 32;

/// The paths of an object's nodes.
#[derive(Debug)]
pub(super) struct Paths {
    kind: String,
    namespace: String,
    name: String,
    /// By a node's number: the number of the one above, and the step from there.
    nodes: Vec<(usize, Step)>,
}

#[derive(Debug)]
enum Step {
    Root(&'static str),
    Key(Box<str>),
    Index(usize),
}

/// The object has more values than are read, or they are nested too deeply.
#[derive(Debug)]
pub(super) struct TooMany;

impl Paths {
    /// Of an object that has no nodes yet.
    pub(super) const fn new(kind: String, namespace: String, name: String) -> Self {
        Self {
            kind,
            namespace,
            name,
            nodes: Vec::new(),
        }
    }

    /// The place of the field at `path`, for what concerns the object as a whole.
    pub(super) fn place(&self, path: &str) -> Place {
        Place::Object {
            kind: self.kind.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            path: path.to_owned(),
        }
    }

    /// The place of the node of that number.
    pub(super) fn place_of(&self, number: usize) -> Place {
        self.place(&self.path(number))
    }

    fn path(&self, number: usize) -> String {
        let mut steps = Vec::new();
        let mut at = number;
        while let Some((above, step)) = self.nodes.get(at) {
            steps.push(step);
            if let Step::Root(_) = step {
                break;
            }
            at = *above;
        }
        let mut path = String::new();
        for step in steps.iter().rev() {
            match step {
                Step::Root(name) => path.push_str(name),
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                // As in `matchLabels[kubernetes.io/hostname]`.
                Step::Key(key) if key.contains(['.', '/', '[', ' ']) => {
                    path.push_str(&format!("[{key}]"));
                }
                Step::Key(key) => path.push_str(&format!(".{key}")),
            }
        }
        path
    }

    /// The tree of `json`, the object's field `name`.
    ///
    /// # Errors
    /// If it is larger than what is read.
    pub(super) fn tree(&mut self, name: &'static str, json: &Json) -> Result<Node, TooMany> {
        self.node(0, Step::Root(name), json, 0)
    }

    fn node(
        &mut self,
        above: usize,
        step: Step,
        json: &Json,
        depth: usize,
    ) -> Result<Node, TooMany> {
        if depth > MAX_DEPTH {
            return Err(TooMany);
        }
        let number = self.number(above, step)?;
        let value = match json {
            Json::Null => scalar("", Style::Plain),
            Json::Bool(truth) => scalar(&truth.to_string(), Style::Plain),
            Json::Number(number) => scalar(&number.to_string(), Style::Plain),
            Json::String(text) => scalar(text, Style::Quoted),
            Json::Array(items) => {
                let items = items.iter().enumerate();
                let nodes = items
                    .map(|(index, item)| self.node(number, Step::Index(index), item, depth + 1));
                Value::List(nodes.collect::<Result<_, _>>()?)
            }
            Json::Object(entries) => {
                let mut nodes = Vec::new();
                for (key, json) in entries {
                    let value =
                        self.node(number, Step::Key(key.as_str().into()), json, depth + 1)?;
                    let key = Node {
                        span: value.span.clone(),
                        value: scalar(key, Style::Quoted),
                    };
                    nodes.push((key, value));
                }
                Value::Map(nodes)
            }
        };
        Ok(Node {
            span: number..number,
            value,
        })
    }

    fn number(&mut self, above: usize, step: Step) -> Result<usize, TooMany> {
        if self.nodes.len() >= MAX_NODES {
            return Err(TooMany);
        }
        self.nodes.push((above, step));
        Ok(self.nodes.len() - 1)
    }
}

fn scalar(text: &str, style: Style) -> Value {
    Value::Scalar(Scalar {
        text: text.to_owned(),
        style,
    })
}
