//! A change of the file as a reload.

use super::{config, publish, route, started, status, to_inbox, wait_until};
use crate::support::process::{Gateway, program};
use std::fs;
use std::os::unix::fs::symlink;

/// `configure` writes a `[gateway]` of its own, so that this comes from outside of the file.
fn watching(settings: &str) -> Gateway {
    let mut gateway = Gateway::new(&program(), settings);
    gateway.variable("CAUSEWAY__GATEWAY__RELOAD_ON_CHANGE", "true");
    gateway.start().unwrap();
    gateway
}

fn generation(gateway: &Gateway) -> u64 {
    config(gateway)["generation"].as_u64().expect("a number")
}

#[test]
fn a_change_of_the_file_is_taken_when_it_is_sound() {
    let gateway = watching(&to_inbox("one"));
    gateway.configure(&to_inbox("two"));
    wait_until("generation 2", || generation(&gateway) == 2);
    assert_eq!(config(&gateway)["last_reload"]["by"], "file change");
    assert_eq!(publish(&gateway, "two", "a"), 202);
    fs::write(gateway.config(), "version = 1\nroutes").expect("writable");
    wait_until("it is refused", || config(&gateway)["reloads_refused"] == 1);
    fs::remove_file(gateway.config()).expect("it is there");
    wait_until("so is its absence", || {
        config(&gateway)["reloads_refused"] == 2
    });
    assert_eq!(publish(&gateway, "two", "b"), 202);
    // Written by a rename, as editors do.
    let text = gateway.configured(&to_inbox("three"));
    let aside = gateway.folder().join("routes.toml~");
    fs::write(&aside, text).expect("writable");
    fs::rename(&aside, gateway.config()).expect("it is moved");
    wait_until("generation 3", || generation(&gateway) == 3);
    assert_eq!(publish(&gateway, "three", "c"), 202);
    assert_eq!(config(&gateway)["reloads_refused"], 2);
}

/// As the kubelet updates what it mounted.
#[test]
fn a_config_map_is_swapped_under_the_gateway() {
    let mut gateway = Gateway::new(&program(), &to_inbox("one"));
    gateway.variable("CAUSEWAY__GATEWAY__RELOAD_ON_CHANGE", "true");
    let at = |gateway: &Gateway, name: &str| gateway.folder().join(name);
    let version = |gateway: &Gateway, name: &str, topic: &str| {
        let folder = at(gateway, name);
        fs::create_dir(&folder).expect("new");
        let text = gateway.configured(&to_inbox(topic));
        fs::write(folder.join("routes.toml"), text).expect("writable");
    };
    version(&gateway, "..2026_1", "one");
    fs::remove_file(gateway.config()).expect("it was written");
    symlink("..2026_1", at(&gateway, "..data")).expect("new");
    symlink("..data/routes.toml", gateway.config()).expect("new");
    gateway.start().unwrap();
    for (number, topic) in [(2, "two"), (3, "six")] {
        let name = format!("..2026_{number}");
        version(&gateway, &name, topic);
        symlink(&name, at(&gateway, "..data_tmp")).expect("new");
        fs::rename(at(&gateway, "..data_tmp"), at(&gateway, "..data")).expect("replaced");
        fs::remove_dir_all(at(&gateway, &format!("..2026_{}", number - 1))).expect("there");
        wait_until("the swap is seen", || generation(&gateway) == number);
        assert_eq!(publish(&gateway, topic, topic), 202);
    }
    assert_eq!(config(&gateway)["reloads_refused"], 0);
}

/// The setting is live itself: what it says counts from the reload on.
#[test]
fn it_is_a_setting() {
    let gateway = started(&to_inbox("one"));
    let on = |topic: &str| {
        let text = gateway.configured(&to_inbox(topic));
        text.replace("[gateway]\n", "[gateway]\nreload_on_change = true\n")
    };
    fs::write(gateway.config(), on("two")).expect("writable");
    // By itself it would take this no later than the next change, which is asked for.
    assert_eq!(super::reload(&gateway).status, 200);
    assert_eq!(status(&gateway)["config"]["last_reload"]["by"], "admin");
    fs::write(gateway.config(), on("three")).expect("writable");
    wait_until("generation 3", || generation(&gateway) == 3);
    assert_eq!(config(&gateway)["last_reload"]["by"], "file change");
}

/// What it includes belongs to it: a file that changes, one that comes, one that goes.
#[test]
fn included_files_are_watched_too() {
    let gateway = {
        let mut gateway = Gateway::new(&program(), &to_inbox("main"));
        gateway.variable("CAUSEWAY__GATEWAY__RELOAD_ON_CHANGE", "true");
        let text = gateway.configured(&to_inbox("main"));
        let including = text.replace("version = 1\n", "version = 1\ninclude = [\"d/*.toml\"]\n");
        fs::write(gateway.config(), including).expect("writable");
        fs::create_dir(gateway.folder().join("d")).expect("new");
        gateway.start().unwrap();
        gateway
    };
    let file = |name: &str| gateway.folder().join("d").join(name);
    let included = |topic: &str| route("more", topic, "\"inbox\"");
    fs::write(file("a.toml"), included("one")).expect("writable");
    wait_until("it comes", || generation(&gateway) == 2);
    assert_eq!(publish(&gateway, "one", "a"), 202);
    fs::write(file("a.toml"), included("two")).expect("writable");
    wait_until("it changes", || generation(&gateway) == 3);
    assert_eq!(publish(&gateway, "two", "b"), 202);
    fs::remove_file(file("a.toml")).expect("it is there");
    wait_until("it goes", || generation(&gateway) == 4);
    assert_eq!(publish(&gateway, "two", "c"), 404);
    assert_eq!(publish(&gateway, "main", "d"), 202);
    assert_eq!(config(&gateway)["reloads_refused"], 0);
}
