use super::*;
use std::process;

const LIMIT: Duration = Duration::from_secs(20);

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("causeway-brokers-{name}-{}", process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn shell(folder: &Path, script: &str) -> Launch {
    Launch {
        program: "sh".into(),
        args: vec!["-c".into(), script.into()],
        folder: folder.to_owned(),
        log: folder.join("log"),
    }
}

/// A group of two: the one that the leader started writes its number to the log.
fn two(folder: &Path) -> (Group, u32) {
    let launch = shell(folder, "sleep 600 & echo $!; wait");
    let group = Group::start(&launch).unwrap();
    let mut second = None;
    let read = || {
        second = fs::read_to_string(&launch.log).unwrap().trim().parse().ok();
        second.is_some()
    };
    assert!(wait_until(LIMIT, read), "no number in the log");
    (group, second.unwrap())
}

fn state(pid: u32) -> Option<char> {
    stat(pid).map(|(state, _)| state)
}

fn is_gone(pid: u32) -> bool {
    wait_until(LIMIT, || matches!(state(pid), None | Some('Z')))
}

#[test]
fn signals_reach_the_whole_group_and_none_of_it_stays() {
    let folder = folder("group");
    let (group, second) = two(&folder);
    group.signal(Signal::STOP).unwrap();
    let both = [group.pid(), second];
    let all_in = |wanted| wait_until(LIMIT, || both.iter().all(|pid| state(*pid) == Some(wanted)));
    assert!(all_in('T'));
    group.signal(Signal::CONT).unwrap();
    assert!(all_in('S'));
    group.signal(Signal::STOP).unwrap();
    drop(group);
    assert!(is_gone(second));
    fs::remove_dir_all(folder).unwrap();
}

/// As when the kernel closes the pipe of a test that was killed.
#[test]
fn the_end_of_the_pipe_kills_a_frozen_group() {
    let folder = folder("pipe");
    let (mut group, second) = two(&folder);
    group.signal(Signal::STOP).unwrap();
    drop(group.watchdog.stdin.take());
    assert!(is_gone(second));
    assert!(wait_until(LIMIT, || group.ended().is_some()));
    drop(group);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn another_process_of_the_same_number_is_not_ours() {
    let folder = folder("number");
    let (group, _) = two(&folder);
    let pid = group.pid();
    let since = started(pid);
    assert!(runs(pid, since));
    assert!(!runs(pid, since.map(|since| since + 1)));
    group.signal(Signal::KILL).unwrap();
    // Not yet waited for.
    assert!(is_gone(pid) && !runs(pid, since));
    drop(group);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_last_logs_are_kept() {
    let folder = folder("logs");
    for run in 0..8 {
        let launch = shell(&folder, &format!("echo run {run}"));
        let mut group = Group::start(&launch).unwrap();
        assert!(wait_until(LIMIT, || group.ended().is_some()));
        assert!(launch.tail().contains(&format!("run {run}")));
    }
    let said = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!(
        (said("log"), said("log.1")),
        ("run 7\n".into(), "run 6\n".into())
    );
    assert_eq!(said("log.5"), "run 2\n");
    assert!(!folder.join("log.6").exists());
    fs::remove_dir_all(folder).unwrap();
}
