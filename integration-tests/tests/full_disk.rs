//! A full disk: the agent says so, loses nothing that it acknowledged, and goes on once there is room.

use std::{
    fs::OpenOptions,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use hearth_integration_tests::{Client, Lab, PATIENCE, Said, binary, say};
use serde_json::json;

/// A small file system in memory, unmounted when it goes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where mounting is not allowed.
    fn mount(at: &Path) -> Result<Option<Self>> {
        std::fs::create_dir_all(at)?;
        Ok(mount(at, "size=5m,mode=700").then(|| Self(at.to_owned())))
    }

    fn grow(&self) -> Result<()> {
        ensure!(mount(&self.0, "remount,size=64m"), "the disk does not grow");
        Ok(())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn mount(at: &Path, options: &str) -> bool {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).stderr(Stdio::null());
    mount.status().is_ok_and(|status| status.success())
}

#[test]
fn a_full_disk_is_told_and_nothing_acknowledged_is_lost() -> Result<()> {
    let lab = Lab::new()?;
    let Some(disk) = SmallDisk::mount(&lab.home("ada"))? else {
        say("skipped: file systems cannot be mounted here")?;
        return Ok(());
    };
    let mut ada = lab.member("ada", &[])?;
    let group = ada.found("Narrow", "Ada")?;
    let mut kept: Vec<Said> = Vec::new();
    let refused = loop {
        // Every text differs, so that nothing can be stored once for all.
        match ada.say(&group, &format!("{} {}", kept.len(), "room ".repeat(4_000))) {
            Ok(said) => kept.push(said),
            Err(e) => break e.downcast::<hearth_integration_tests::Refused>()?,
        }
        ensure!(kept.len() < 1_000, "five megabytes are never full");
    };
    assert_eq!(refused.kind.as_deref(), Some("storage"));
    assert_eq!(ada.call("status", json!({}))?["locked"], false, "it still answers");
    disk.grow()?;
    let after = ada.until("a message after there is room", |ada| Ok(ada.say(&group, "room again").ok()))?;
    kept.push(after);
    let words: Vec<&str> = kept.iter().map(|said| said.text.as_str()).collect();
    assert_eq!(ada.texts(&group)?, words);
    ada.kill()?;
    ada.wake()?;
    assert_eq!(ada.texts(&group)?, words, "and after a restart");
    assert!(ada.quit()?.success());
    Ok(())
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() -> Result<()> {
    let lab = Lab::new()?;
    let full = OpenOptions::new().write(true).open("/dev/full")?;
    let mut child = Command::new(binary()?)
        .args(["agent", "--listen", "/ip4/127.0.0.1/tcp/0", "--home"])
        .arg(lab.home("ada"))
        .envs([("HEARTH_ARGON2_MIB", "64"), ("HEARTH_LOG", "debug")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(full)
        .spawn()?;
    let (stdin, stdout) = (child.stdin.take().context("input")?, child.stdout.take().context("output")?);
    let mut client = Client::new(stdin, stdout);
    let create = client.ask("vault.create", &json!({"passphrase": "quiet"}))?;
    client.answer(&create, PATIENCE)?;
    let found = client.ask("group.create", &json!({"name": "Unlogged", "join": "open"}))?;
    client.answer(&found, PATIENCE)?;
    client.close();
    assert!(child.wait()?.success());
    Ok(())
}
