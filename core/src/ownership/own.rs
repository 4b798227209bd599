//! L6, L11, N2: the numbers that this member alone raises: its boot, its incarnation, and that of its record.

use super::context::Step;
use super::model::{Death, Entry, Life};
use super::numbers::LAST_INC;
use super::reminders::Reminders;

/// Others have been told that this member is gone. Whether that was news, and is refuted.
pub(super) fn handle_death(death: Death, reminders: &mut Reminders, step: &mut Step<'_>) -> bool {
    let own = step.members.own();
    let is_news = death.boot == own.boot && death.inc >= own.inc;
    if is_news {
        refute(death.inc, reminders, step);
    }
    is_news
}

/// What others remember of this boot.
pub(super) fn handle_entry(entry: &Entry, reminders: &mut Reminders, step: &mut Step<'_>) {
    if entry.life != Life::Live && entry.inc >= step.members.own().inc {
        refute(entry.inc, reminders, step);
    }
    if entry.seq > step.members.own().record.seq {
        outnumber(entry.seq, step);
    }
}

/// L6: only the member itself raises its incarnation. Its record tells those it holds live, and
/// every datagram's header whoever else hears it.
pub(super) fn refute(inc: u32, reminders: &mut Reminders, step: &mut Step<'_>) {
    if inc >= LAST_INC {
        take_boot(step.members.own().boot + 1, step);
    } else {
        step.members.raise_own_inc(inc + 1, step.now);
    }
    step.publish();
    reminders.once_heard(step.ctx());
}

/// N2, L11: as if this process had started anew, except that it keeps what it announces.
pub(super) fn take_boot(boot: u64, step: &mut Step<'_>) {
    step.members.take_own_boot(boot, step.now);
    step.publish();
}

/// C1: somebody else wrote a record in this member's name. The next one of its own is newer.
fn outnumber(seq: u32, step: &mut Step<'_>) {
    step.members.take_own_seq(seq, step.now);
    step.publish();
}
