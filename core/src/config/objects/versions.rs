//! Which version of each object is in force where the objects of a kind exclude each other.
//!
//! The one in force stays; of others the older one (by `creationTimestamp`, then by name). A version that
//! loses is left out as a whole, and if a former one is in force that one stays. Edits that are seen
//! together are judged together.

/// An object as it is written now, and as it is in force.
pub(super) struct Candidate<'o, T> {
    pub(super) created: i64,
    pub(super) name: &'o str,
    /// `None` if it has errors.
    pub(super) newest: Option<&'o T>,
    pub(super) former: Option<&'o T>,
}

impl<T> Clone for Candidate<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Candidate<'_, T> {}

impl<'o, T> Candidate<'o, T> {
    pub(super) fn version(&self, version: Option<Version>) -> Option<&'o T> {
        match version? {
            Version::Newest => self.newest,
            Version::Former => self.former,
        }
    }
}

/// A version of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Newest,
    Former,
}

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict<W> {
    pub(super) in_force: Option<Version>,
    /// Why that is not the newest version, if that one has no errors.
    pub(super) why: Option<W>,
}

impl<W> Default for Verdict<W> {
    fn default() -> Self {
        Self {
            in_force: None,
            why: None,
        }
    }
}

/// The indices of the candidates, in the order in which they are judged.
pub(super) fn order<T>(candidates: &[Candidate<'_, T>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|index| {
        let one = &candidates[*index];
        (one.former.is_none(), one.created, one.name)
    });
    order
}

/// The verdict for each candidate, where `once` says what follows from what is in force.
///
/// What one gives up may be there for another one only after that. Then it is so at once: nothing may
/// change at the next look, when nobody has edited anything.
pub(super) fn settled<T, W: PartialEq>(
    candidates: &[Candidate<'_, T>],
    once: impl Fn(&[Candidate<'_, T>]) -> Vec<Verdict<W>>,
) -> Vec<Verdict<W>> {
    let mut verdicts = once(candidates);
    for _ in candidates {
        let settled = candidates
            .iter()
            .zip(&verdicts)
            .map(|(one, verdict)| Candidate {
                former: one.version(verdict.in_force),
                ..*one
            });
        let next = once(&settled.collect::<Vec<_>>());
        let next = next
            .into_iter()
            .zip(&verdicts)
            .map(|(next, verdict)| Verdict {
                in_force: match next.in_force {
                    Some(Version::Former) => verdict.in_force,
                    other => other,
                },
                why: next.why,
            });
        let next: Vec<_> = next.collect();
        if next == verdicts {
            break;
        }
        verdicts = next;
    }
    verdicts
}
