use super::*;

fn sleeper() -> Child {
    Command::new("sleep").arg("60").spawn().unwrap()
}

fn id_of(child: &Child) -> ProcessId {
    ProcessId::of(i32::try_from(child.id()).unwrap()).unwrap()
}

#[test]
fn a_process_is_alive_until_it_has_ended_even_if_nobody_took_its_exit_status() {
    let mut child = sleeper();
    let id = id_of(&child);
    assert!(id.is_alive());
    end_all(&[id], Signal::TERM, Duration::from_secs(10));
    assert!(!id.is_alive(), "a zombie is not alive");
    child.wait().unwrap();
    assert!(!id.is_alive());
}

#[test]
fn a_pid_that_was_used_again_is_not_killed() {
    let mut child = sleeper();
    let id = id_of(&child);
    let before = ProcessId {
        started: id.started - 1,
        ..id
    };
    assert!(!before.is_alive());
    end_all(&[before], Signal::KILL, Duration::from_millis(100));
    assert!(id.is_alive(), "the process that has the pid now must live");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_stopped_process_ends_when_it_is_asked_to() {
    let mut child = sleeper();
    let id = id_of(&child);
    id.signal(Signal::STOP);
    end_all(&[id], Signal::TERM, Duration::from_secs(10));
    assert!(!id.is_alive());
    child.wait().unwrap();
}

#[test]
fn the_machines_own_cgroup_is_never_found() {
    for root in ["", "/", "//"] {
        assert_eq!(cgroup_folders(root), Vec::<PathBuf>::new());
    }
}

#[test]
fn the_tail_of_a_log_is_its_last_lines() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    fs::write(&log, "one\ntwo\nthree\n").unwrap();
    assert_eq!(log_tail(&log, 2), "two\nthree");
    assert_eq!(log_tail(&log, 9), "one\ntwo\nthree");
    assert_eq!(log_tail(&dir.path().join("none"), 2), "");
}
