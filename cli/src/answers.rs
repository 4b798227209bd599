//! What the verbs answer, as data: each a pure function of the [picture](crate::picture). How it is
//! printed stands in [`verbs`](crate::verbs). Keys are an interface, they stay.

pub(crate) mod init;
pub(crate) mod pools;
pub(crate) mod services;
pub(crate) mod status;
