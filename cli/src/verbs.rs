//! The verbs: their options, their text for people and their exit status. What they answer stands in
//! [`answers`](crate::answers).

pub(crate) mod check;
pub(crate) mod dashboard;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod pools;
pub(crate) mod services;
pub(crate) mod status;
pub(crate) mod top;
