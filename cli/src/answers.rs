//! What the verbs answer, as data: each a pure function of the [picture](crate::picture), or of the facts
//! that it needs besides. How it is printed stands in [`verbs`](crate::verbs). Keys are an interface,
//! they stay.

pub(crate) mod check;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod pools;
pub(crate) mod services;
pub(crate) mod status;
