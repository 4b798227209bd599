//! The keeper: while an address that moved still has open connections on its old node, it passes their
//! packets on to that node.
//!
//! It is a process of its own because it needs `CAP_NET_ADMIN`, which the speaker does not have. It holds no
//! token of the API and listens on nothing but one Unix socket of its pod. What it may do is narrow
//! ([`admission`]): a few thousand addresses, for a bounded time, to other nodes of the cluster that the
//! kernel reaches directly.
//!
//! ```text
//!  speaker ──Unix socket──▶ serve ──▶ admission ──▶ table ──netlink──▶ nf_tables
//!  (core::keep decides)               (what may)     (rules, elements)  (a table that ends with this process)
//! ```
//!
//! | module | holds |
//! | --- | --- |
//! | [`serve`] | the socket, and the loop |
//! | [`admission`] | what the speaker may ask for |
//! | [`table`] | one family's table, and what is in it |
//! | `rules` | its rules, each with its reason |
//! | `netlink` | bytes to and from the kernel |
//! | [`surroundings`] | rights, own addresses, settings of the kernel |

pub mod admission;
mod netlink;
mod rules;
pub mod serve;
pub mod surroundings;
pub mod table;

#[cfg(test)]
mod tests;
