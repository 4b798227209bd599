//! Bytes to and from the kernel's nf_tables: attributes, batches, answers.

mod attributes;
mod kernel;

pub(crate) use attributes::Attributes;
pub(crate) use kernel::{Batch, Kernel, Message, Refused};
