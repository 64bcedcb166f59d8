//! What a look sees, and what a watch tells, of real directories.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::mpsc;

use super::*;

/// What is in force, by name, as a caller would keep it.
fn texts(changes: Vec<Change>) -> Vec<(String, String)> {
    let text = |content| match content {
        Content::Bytes(bytes) => String::from_utf8(bytes).expect("text"),
        Content::Unreadable(_) => "unreadable".to_owned(),
        Content::Gone => "gone".to_owned(),
    };
    changes
        .into_iter()
        .map(|change| (change.name, text(change.content)))
        .collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|&(name, text)| (name.to_owned(), text.to_owned()))
        .collect()
}

#[test]
fn a_look_tells_what_changed_and_nothing_else() {
    let parent = tempfile::tempdir().expect("a directory");
    let path = parent.path().join("new/sites");
    let mut directory = Directory::open(&path, "toml").expect("it is created");
    let check = |directory: &mut Directory, look: Look, expected: &[(&str, &str)]| {
        assert_eq!(texts(directory.look(look)), pairs(expected));
    };
    check(&mut directory, Look::Changed, &[]);
    fs::write(path.join("b.toml"), "one").expect("write");
    fs::write(path.join("a.toml"), "two").expect("write");
    fs::write(path.join(".c.toml"), "hidden").expect("write");
    fs::write(path.join("d.toml.tmp"), "other").expect("write");
    check(&mut directory, Look::Changed, &[("a", "two"), ("b", "one")]);
    check(&mut directory, Look::Changed, &[]);
    check(
        &mut directory,
        Look::Everything,
        &[("a", "two"), ("b", "one")],
    );
    fs::write(path.join("b.toml"), "longer").expect("write");
    fs::remove_file(path.join("a.toml")).expect("remove");
    check(
        &mut directory,
        Look::Changed,
        &[("a", "gone"), ("b", "longer")],
    );
    let named = Look::Names(["a".to_owned(), "b".to_owned()].into());
    check(&mut directory, named, &[("b", "longer")]);
}

#[test]
fn links_are_followed_and_what_is_no_file_is_told_once() {
    let temporary = tempfile::tempdir().expect("a directory");
    let (path, target) = (
        temporary.path().join("sites"),
        temporary.path().join("target"),
    );
    let mut directory = Directory::open(&path, "toml").expect("open");
    fs::write(&target, "one").expect("write");
    symlink(&target, path.join("a.toml")).expect("link");
    fs::create_dir(path.join("b.toml")).expect("directory");
    symlink("nowhere", path.join("c.toml")).expect("link");
    fs::write(path.join("d.toml"), vec![b' '; (1 << 20) + 1]).expect("write");
    let expected = [
        ("a", "one"),
        ("b", "unreadable"),
        ("c", "unreadable"),
        ("d", "unreadable"),
    ];
    assert_eq!(texts(directory.look(Look::Changed)), pairs(&expected));
    assert_eq!(texts(directory.look(Look::Changed)), pairs(&[]));
    fs::write(&target, "other").expect("write");
    fs::remove_file(path.join("c.toml")).expect("remove");
    let expected = [("a", "other"), ("c", "gone")];
    assert_eq!(texts(directory.look(Look::Changed)), pairs(&expected));
}

#[test]
fn a_pipe_does_not_hold_the_thread() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut directory = Directory::open(temporary.path(), "toml").expect("open");
    let made = std::process::Command::new("mkfifo")
        .arg(temporary.path().join("a.toml"))
        .status();
    assert!(made.expect("mkfifo").success());
    assert_eq!(
        texts(directory.look(Look::Changed)),
        pairs(&[("a", "unreadable")])
    );
}

#[test]
fn a_directory_that_is_gone_or_emptied_by_replacement_removes_nothing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("sites");
    let mut directory = Directory::open(&path, "toml").expect("open");
    fs::write(path.join("a.toml"), "one").expect("write");
    assert_eq!(directory.look(Look::Changed).len(), 1);
    fs::rename(&path, temporary.path().join("away")).expect("rename");
    assert_eq!(texts(directory.look(Look::Changed)), pairs(&[]));
    fs::create_dir(&path).expect("directory");
    assert!(directory.was_replaced());
    assert_eq!(texts(directory.look(Look::Changed)), pairs(&[]));
    fs::write(path.join("b.toml"), "two").expect("write");
    assert_eq!(
        texts(directory.look(Look::Changed)),
        pairs(&[("a", "gone"), ("b", "two")])
    );
}

#[test]
fn without_inotify_too_an_empty_directory_in_its_place_removes_nothing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("sites");
    let mut directory = Directory::open(&path, "toml").expect("open");
    fs::write(path.join("a.toml"), "one").expect("write");
    assert_eq!(directory.look(Look::Changed).len(), 1);
    let (_wakes, woken) = sync_channel(1);
    let mut seer = Seer {
        directory,
        watcher: None,
        woken,
        missed: Arc::default(),
        settle: Duration::ZERO,
        apply: |_| (),
    };
    fs::rename(&path, temporary.path().join("away")).expect("rename");
    fs::create_dir(&path).expect("directory");
    seer.follow_directory();
    assert_eq!(texts(seer.directory.look(Look::Changed)), pairs(&[]));
    assert!(seer.directory.is_failing());
}

#[test]
fn a_watch_follows_writes_renames_links_and_replaced_directories() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("clusters");
    let directory = Directory::open(&path, "json").expect("open");
    let (told, tell) = mpsc::channel();
    let watch = Watch::spawn("test", directory, Duration::ZERO, move |changes| {
        for change in texts(changes) {
            let _ = told.send(change);
        }
    })
    .expect("a thread");
    let mut seen = BTreeMap::new();
    let mut until = |name: &str, text: &str| {
        while seen.get(name).map(String::as_str) != Some(text) {
            let (name, text) = tell
                .recv_timeout(Duration::from_secs(20))
                .expect("a change");
            seen.insert(name, text);
        }
    };
    fs::write(path.join("a.json"), "one").expect("write");
    until("a", "one");
    fs::write(path.join(".a.tmp"), "two").expect("write");
    fs::rename(path.join(".a.tmp"), path.join("a.json")).expect("rename");
    until("a", "two");
    symlink(path.join("a.json"), path.join("b.json")).expect("link");
    until("b", "two");
    fs::remove_file(path.join("a.json")).expect("remove");
    until("a", "gone");
    fs::rename(&path, temporary.path().join("away")).expect("rename");
    fs::create_dir(&path).expect("directory");
    fs::write(path.join("a.json"), "three").expect("write");
    until("a", "three");
    fs::write(path.join("a.json"), "four").expect("write");
    until("a", "four");
    drop(watch);
    assert!(
        tell.recv_timeout(Duration::from_secs(20)).is_err(),
        "the thread ended"
    );
}

#[tokio::test]
async fn a_reload_reads_all_and_is_applied_when_it_returns() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut directory = Directory::open(temporary.path(), "toml").expect("open");
    fs::write(temporary.path().join("a.toml"), "one").expect("write");
    directory.look(Look::Changed);
    let (told, tell) = mpsc::channel();
    let watch = Watch::spawn("test", directory, Duration::ZERO, move |changes| {
        if !changes.is_empty() {
            let _ = told.send(texts(changes));
        }
    })
    .expect("a thread");
    watch.reload().await;
    assert_eq!(tell.try_recv().expect("applied"), pairs(&[("a", "one")]));
}
