//! Objects out of the bodies of answers, one after another as the bytes come in. A page of a list is
//! never held: a tenant's hundred Services of a megabyte each would be a hundred megabytes.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

/// An object in JSON is read up to this many bytes. The API server takes no more than 1.5 MiB in its
/// own, denser form; what is beyond does not exist, or is made to harm.
pub(crate) const LARGEST: usize = 4 << 20;
/// Of an object that is larger, this much is kept: its name and version come first.
const HEAD: usize = 64 << 10;

/// The bytes of one object, bounded.
#[derive(Debug, Default)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    is_cut: bool,
}

impl Piece {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        if self.is_cut {
            return;
        }
        if self.bytes.len() + bytes.len() <= LARGEST {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        self.is_cut = true;
        let missing = HEAD.saturating_sub(self.bytes.len()).min(bytes.len());
        self.bytes.extend_from_slice(&bytes[..missing]);
        self.bytes.truncate(HEAD);
        self.bytes.shrink_to_fit();
    }

    /// For the next one. The room for a large one is given back.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(HEAD);
        self.is_cut = false;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The value in it.
    ///
    /// # Errors
    /// It is none, or too large to be looked at.
    pub(crate) fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, String> {
        if self.is_cut {
            return Err(format!("larger than {LARGEST} bytes"));
        }
        serde_json::from_slice(&self.bytes).map_err(|error| error.to_string())
    }

    /// What can be said of an object that cannot be read.
    pub(crate) fn head(&self) -> Head {
        let mut head = Head::default();
        let mut text = serde_json::Deserializer::from_slice(&self.bytes);
        // The end may be missing; what was found until then counts.
        let _ = Place::Whole(&mut head).deserialize(&mut text);
        head
    }
}

/// The little that an object says first, and an event of a watch around it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    /// `type` of the event
    pub(crate) event: Option<String>,
    pub(crate) namespace: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// Where in an object we are; what is found goes into the head.
enum Place<'a> {
    /// An event of a watch, or an object.
    Whole(&'a mut Head),
    Object(&'a mut Head),
    Metadata(&'a mut Head),
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match (&mut self, key.as_str()) {
                (Self::Whole(head), "type") => head.event = Some(map.next_value()?),
                (Self::Whole(head), "object") => map.next_value_seed(Place::Object(head))?,
                (Self::Whole(head) | Self::Object(head), "metadata") => {
                    map.next_value_seed(Place::Metadata(head))?;
                }
                (Self::Metadata(head), "namespace") => head.namespace = Some(map.next_value()?),
                (Self::Metadata(head), "name") => head.name = Some(map.next_value()?),
                (Self::Metadata(head), "resourceVersion") => {
                    head.resource_version = Some(map.next_value()?);
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// The body of a list: hands out each of its `items`, and keeps what stands around them.
#[derive(Debug, Default)]
pub(crate) struct ListBody {
    around: Piece,
    item: Piece,
    /// How many braces and brackets are open.
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    in_items: bool,
}

/// Where an item stands: in the list's object, and in its array.
const ITEM_DEPTH: usize = 2;

#[derive(Deserialize)]
struct Around {
    #[serde(default)]
    metadata: ListMeta,
}

impl ListBody {
    /// Takes bytes up to the end of an item: how many, and whether there is one to look at.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        // Where those begin that belong to the item.
        let mut from = self.is_in_item().then_some(0);
        for (at, byte) in bytes.iter().copied().enumerate() {
            let opens = self.step(byte);
            if from.is_none() && self.is_in_item() {
                from = Some(at);
            } else if let Some(begin) = from
                && !self.is_in_item()
            {
                self.item.push(bytes.get(begin..=at).unwrap_or_default());
                return (at + 1, true);
            } else if from.is_none() && (!self.in_items || opens) {
                self.around.push(&[byte]);
            }
        }
        if let Some(begin) = from {
            self.item.push(bytes.get(begin..).unwrap_or_default());
        }
        (bytes.len(), false)
    }

    /// One byte further; whether it opens the array of items.
    fn step(&mut self, byte: u8) -> bool {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => {
                self.depth += 1;
                if byte == b'[' && self.depth == ITEM_DEPTH && self.are_items_next() {
                    self.in_items = true;
                    return true;
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                if self.depth < ITEM_DEPTH {
                    self.in_items = false;
                }
            }
            _ => {}
        }
        false
    }

    fn is_in_item(&self) -> bool {
        self.in_items && self.depth > ITEM_DEPTH
    }

    fn are_items_next(&self) -> bool {
        let around = self.around.bytes.trim_ascii_end();
        let key = around.strip_suffix(b":").map(<[u8]>::trim_ascii_end);
        key.is_some_and(|key| key.ends_with(b"\"items\""))
    }

    /// The item that is complete.
    pub(crate) const fn item(&self) -> &Piece {
        &self.item
    }

    /// Makes room for the next item.
    pub(crate) fn clear(&mut self) {
        self.item.clear();
    }

    /// What the list says of itself, once all of it has been taken.
    ///
    /// # Errors
    /// It ended too early, or is no list.
    pub(crate) fn metadata(&self) -> Result<ListMeta, String> {
        let around: Around = self.around.read()?;
        Ok(around.metadata)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The items of a list that comes in chunks of `size` bytes, and its metadata.
    fn split(body: &str, size: usize) -> (Vec<Value>, Result<ListMeta, String>) {
        let mut list = ListBody::default();
        let mut items = Vec::new();
        for chunk in body.as_bytes().chunks(size) {
            let mut rest = chunk;
            while !rest.is_empty() {
                let (taken, complete) = list.take(rest);
                rest = &rest[taken..];
                if complete {
                    items.push(list.item().read().expect("an item"));
                    list.clear();
                }
            }
        }
        (items, list.metadata())
    }

    #[test]
    fn items_come_out_as_they_went_in_wherever_the_body_is_torn() {
        let items = [
            json!({ "metadata": { "name": "a", "labels": { "items": "[{" } }, "spec": { "items": [{}, [1]] } }),
            json!({ "metadata": { "name": "ä\"\\" }, "text": "}]\\\"items\":[{" }),
            json!({}),
        ];
        let list = json!({ "kind": "ServiceList", "apiVersion": "v1", "items": items,
                           "metadata": { "resourceVersion": "7", "continue": "more" } });
        for body in [
            list.to_string(),
            serde_json::to_string_pretty(&list).unwrap(),
            format!("{list}\n"),
        ] {
            for size in [1, 2, 3, 7, 64, body.len()] {
                let (found, metadata) = split(&body, size);
                assert_eq!(found, items, "chunks of {size}");
                let metadata = metadata.expect("metadata");
                assert_eq!(metadata.resource_version.as_deref(), Some("7"));
                assert_eq!(metadata.continue_.as_deref(), Some("more"));
            }
        }
    }

    #[test]
    fn an_empty_list_and_one_that_is_null_have_no_items() {
        for items in [json!([]), json!(null)] {
            let list = json!({ "metadata": { "resourceVersion": "7" }, "items": items });
            let (found, metadata) = split(&list.to_string(), 5);
            assert_eq!(found, [] as [Value; 0]);
            assert_eq!(metadata.unwrap().resource_version.as_deref(), Some("7"));
        }
    }

    #[test]
    fn a_body_that_ends_too_early_is_no_list() {
        let body =
            json!({ "items": [{ "a": 1 }], "metadata": { "resourceVersion": "7" } }).to_string();
        for end in 0..body.len() {
            let (_, metadata) = split(&body[..end], 3);
            assert!(metadata.is_err(), "{}", &body[..end]);
        }
    }

    #[test]
    fn of_an_object_that_is_too_large_the_head_is_kept() {
        let filler = "x".repeat(LARGEST);
        let object = format!(
            r#"{{"metadata":{{"name":"web","namespace":"shop","resourceVersion":"9","labels":{{"a":"{filler}"}}}}}}"#
        );
        let body = format!(r#"{{"metadata":{{}},"items":[{object},{{"b":1}}]}}"#);
        let mut list = ListBody::default();
        let mut rest = body.as_bytes();
        let (taken, complete) = list.take(rest);
        assert!(complete);
        rest = &rest[taken..];
        let error = list.item().read::<Value>().unwrap_err();
        assert_eq!(error, "larger than 4194304 bytes");
        let want = Head {
            event: None,
            namespace: Some("shop".to_owned()),
            name: Some("web".to_owned()),
            resource_version: Some("9".to_owned()),
        };
        assert_eq!(list.item().head(), want);
        assert!(list.item().bytes.capacity() <= HEAD);
        list.clear();
        let (_, complete) = list.take(rest);
        assert!(complete, "the next one is read as ever");
        assert_eq!(list.item().read(), Ok(json!({ "b": 1 })));
    }

    #[test]
    fn the_head_of_an_event_is_found_in_what_cannot_be_read() {
        let mut line = Piece::default();
        line.push(br#"{"type":"MODIFIED","object":{"kind":"Service","metadata":{"name":"web","namespace":"shop","resourceVersion":"9"},"type":"no","spec":{"po"#);
        let head = line.head();
        assert_eq!(head.event.as_deref(), Some("MODIFIED"));
        assert_eq!(head.name.as_deref(), Some("web"));
        assert_eq!(head.resource_version.as_deref(), Some("9"));
        assert_eq!(Piece::default().head(), Head::default());
    }
}
