//! What is read of an object.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::Kind;
use crate::labels::Labels;

/// The longest `spec` that is read, in bytes of JSON: 10,000 entries of `addresses` fit in. The API
/// server takes 1.5 MiB.
pub const MAX_SPEC_BYTES: usize = 256 * 1024;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectRef {
    /// `kind`
    pub kind: Kind,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`; empty for one in a file.
    pub uid: String,
}

/// `IPAddressPool metallb-system/lan`
impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// What is read of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectView {
    /// `kind`
    pub kind: Kind,
    /// `apiVersion`, such as `metallb.io/v1beta1`
    pub api_version: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
    /// `metadata.resourceVersion`
    pub resource_version: String,
    /// `metadata.generation`
    pub generation: i64,
    /// `metadata.creationTimestamp`, in seconds since 1970.
    pub created: i64,
    /// `metadata.labels`; read of pools alone.
    pub labels: Labels,
    /// `metadata.annotations` whose names begin with `ferrolb.io/`. Those of others are not kept.
    pub annotations: BTreeMap<String, String>,
    /// `spec`
    pub spec: Spec,
}

impl ObjectView {
    /// Which object it is.
    #[must_use]
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef {
            kind: self.kind,
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
        }
    }
}

/// `spec`, if it is not longer than anybody writes.
#[derive(Clone, PartialEq)]
pub enum Spec {
    /// Null if the object has none.
    Read(Value),
    /// It is not kept.
    TooLong {
        /// As JSON.
        bytes: usize,
    },
}

impl Spec {
    /// At most [`MAX_SPEC_BYTES`] are kept.
    #[must_use]
    pub fn of(value: Value) -> Self {
        let bytes = value.to_string().len();
        if bytes > MAX_SPEC_BYTES {
            return Self::TooLong { bytes };
        }
        Self::Read(value)
    }
}

/// A `BGPPeer` may hold a password.
impl fmt::Debug for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(_) => f.write_str("Read(…)"),
            Self::TooLong { bytes } => write!(f, "TooLong({bytes} bytes)"),
        }
    }
}
