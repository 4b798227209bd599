//! N1, N3: the epochs of claims go round, and leap nowhere.

/// A claim's epoch counts takeovers of one address; of so many at once nobody has missed.
const EPOCH_JUMP: u32 = 1 << 20;

/// The epoch of the next claim; 0 is none.
pub(super) const fn next_epoch(newest: u32) -> u32 {
    match newest.wrapping_add(1) {
        0 => 1,
        next => next,
    }
}

/// N3: how many steps `epoch` lies behind the newest one.
pub(super) const fn epoch_age(newest: u32, epoch: u32) -> u32 {
    newest.wrapping_sub(epoch)
}

/// N3
pub(super) const fn is_newer(epoch: u32, than: u32) -> bool {
    let ahead = epoch.wrapping_sub(than);
    0 < ahead && ahead < 1 << 31
}

/// N1: whether it is too far ahead of the newest one known, if any is.
pub(super) const fn is_leap(epoch: u32, newest: u32) -> bool {
    newest != 0 && is_newer(epoch, newest) && epoch.wrapping_sub(newest) > EPOCH_JUMP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_go_round_and_never_are_none() {
        for (newest, next) in [(0, 1), (7, 8), (u32::MAX - 1, u32::MAX), (u32::MAX, 1)] {
            assert_eq!(next_epoch(newest), next);
            assert!(is_newer(next, newest), "{next} after {newest}");
            assert!(!is_newer(newest, next), "{newest} before {next}");
            assert!(epoch_age(next, next) < epoch_age(next, newest));
            assert!(!is_leap(next, newest));
        }
        assert!(!is_newer(5, 5));
    }

    #[test]
    fn an_epoch_far_ahead_is_a_leap_unless_none_is_known() {
        assert!(is_leap(u32::MAX / 2, 7));
        assert!(is_leap(7 + EPOCH_JUMP + 1, 7));
        assert!(!is_leap(7 + EPOCH_JUMP, 7));
        assert!(!is_leap(u32::MAX, 0), "who joins knows none");
        assert!(!is_leap(3, 7), "an old one is merely old");
    }
}
