//! On nodes with kubelets, which say themselves what is ready; the chart as a user installs it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ferrolb_tests::Lab;
use ferrolb_tests::rotation::{
    REMOVE, connections_while_cut, install, pause, readiness, victim, wait_until_all_ready,
};
use ferrolb_tests::wait::wait_until;
use ferrolb_tests::walk::PATIENCE;

/// Kubernetes marks nodes NotReady after 50 s.
const CUT: Duration = Duration::from_secs(70);

fn events(lab: &Lab) -> Result<String> {
    lab.kubectl(&[
        "-n",
        "default",
        "get",
        "events",
        "-o",
        "custom-columns=R:.reason,M:.message",
    ])
}

#[test]
fn connections_reach_living_pods_again_within_seconds_of_a_nodes_death_and_nothing_is_left_behind()
-> Result<()> {
    Lab::builder("dead-real").nodes(3).run(|lab| {
        let target = install(lab, REMOVE)?;
        let node = victim(lab, target)?;
        let (report, cut) = connections_while_cut(lab, target, &node, Duration::from_secs(20))?;
        let late = report.within(cut, Duration::from_secs(5), Duration::from_secs(20));
        println!(
            "{report}, the last {:?} after the cut",
            report.last_failed(cut)
        );
        let pods = readiness(lab)?;
        ensure!(pods.contains(&format!("{node}=False/NodeDead")), "{pods}");
        ensure!(
            events(lab)?.contains("EndpointsRemoved"),
            "{}",
            events(lab)?
        );
        // Source ports that are used again may fail once more; a third of all would be 250.
        ensure!(late.0 <= late.1 / 50, "{late:?} failed from 5 s on");
        lab.heal(&node)?;
        wait_until_all_ready(lab)?;
        a_power_cut_is_healed_by_the_kubelet(lab, &node)?;
        check_misses_the_policy_once_it_is_gone(lab)?;
        uninstall_leaves_nothing(lab)
    })
}

/// Whose containers start anew, so nobody else may say that they are ready.
fn a_power_cut_is_healed_by_the_kubelet(lab: &Lab, node: &str) -> Result<()> {
    lab.kill_node(node)?;
    pause(Duration::from_secs(10))?;
    lab.start_node(node)?;
    wait_until_all_ready(lab)
}

fn check_misses_the_policy_once_it_is_gone(lab: &Lab) -> Result<()> {
    let is_missed = || {
        let checked = lab.plugin(&["check"])?;
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        Ok(said.contains("no policy limits the right to patch pods/status"))
    };
    ensure!(!is_missed()?, "it is there");
    let binding = "validatingadmissionpolicybinding/pods.metallb-system.ferrolb";
    lab.kubectl(&["delete", binding])?;
    wait_until(PATIENCE, is_missed, || Ok(())).context("check does not miss it")
}

fn uninstall_leaves_nothing(lab: &Lab) -> Result<()> {
    lab.helm(&["uninstall", "ferrolb", "-n", "metallb-system", "--wait"])?;
    let kinds = "configmaps,roles,rolebindings,clusterroles,clusterrolebindings,\
                 validatingadmissionpolicies,validatingadmissionpolicybindings";
    let ours = [
        "get",
        kinds,
        "-A",
        "-l",
        "app.kubernetes.io/instance=ferrolb",
        "-o",
        "name",
    ];
    assert_eq!(lab.kubectl(&ours)?, "");
    Ok(())
}

#[test]
fn a_cut_between_control_plane_and_nodes_marks_nobody() -> Result<()> {
    Lab::builder("dead-cut").nodes(3).run(|lab| {
        install(lab, REMOVE)?;
        lab.cut("cp", false)?;
        pause(CUT)?;
        lab.heal("cp")?;
        wait_until_all_ready(lab)?;
        let events = events(lab)?;
        ensure!(!events.contains("EndpointsRemoved"), "{events}");
        Ok(())
    })
}

#[test]
fn with_the_default_nothing_is_written_and_connections_fail_as_kubernetes_has_it() -> Result<()> {
    Lab::builder("dead-leave").nodes(3).run(|lab| {
        let target = install(lab, "")?;
        let node = victim(lab, target)?;
        let (report, cut) = connections_while_cut(lab, target, &node, Duration::from_secs(10))?;
        let late = report.within(cut, Duration::from_secs(5), Duration::from_secs(10));
        println!("{report}; {late:?} from 5 s on");
        ensure!(
            late.0 > 0,
            "a share of connections fails for 50 s: {late:?}"
        );
        let pods = readiness(lab)?;
        ensure!(!pods.contains("NodeDead"), "{pods}");
        let map = ["-n", "metallb-system", "get", "configmap", "ferrolb-votes"];
        ensure!(lab.kubectl(&map).is_err(), "nobody votes");
        lab.heal(&node)
    })
}
