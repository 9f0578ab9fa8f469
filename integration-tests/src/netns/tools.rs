//! The system's own tools, and the names by which a later run knows what an earlier one left.

use std::{
    fs,
    io::Write as _,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};

const PREFIX: &str = "hearth-lab";
/// Where iproute2 keeps the names of namespaces.
const NAMES: &str = "/run/netns";

fn checked(output: Output, what: &str) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} (needs root, iproute2 and nftables: make test-net): {}", said.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().context("iproute2 is missing")?;
    checked(output, &format!("ip {}", args.join(" ")))
}

/// Gives rules to the kernel, in a namespace, as one transaction.
pub(super) fn nft(namespace: &str, rules: &str) -> Result<()> {
    let mut child = Command::new("ip")
        .args(["netns", "exec", namespace, "nft", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("iproute2 is missing")?;
    child.stdin.take().context("no standard input")?.write_all(rules.as_bytes())?;
    checked(child.wait_with_output()?, "nft").map(drop)
}

/// What the kernel has noted, in a namespace.
pub(super) fn nft_list(namespace: &str, what: &[&str]) -> Result<String> {
    let words = ["netns", "exec", namespace, "nft"].into_iter().chain(what.iter().copied());
    let output = Command::new("ip").args(words).stdin(Stdio::null()).output().context("iproute2 is missing")?;
    checked(output, "nft")
}

/// What names of this process begin with: also the moment of its start, since process ids come again.
pub(super) fn own_prefix() -> Result<String> {
    let pid = std::process::id();
    Ok(format!("{PREFIX}-{pid}-{}-", started(pid).context("no start time of this process")?))
}

/// When a process was started, in the kernel's ticks.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, which may hold anything; the start is the 22nd.
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

/// Whether a name was given by a process that runs no more.
fn is_left(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-')) else { return false };
    let mut fields = rest.split('-');
    let pid: Option<u32> = fields.next().and_then(|f| f.parse().ok());
    let start: Option<u64> = fields.next().and_then(|f| f.parse().ok());
    pid.zip(start).is_some_and(|(pid, start)| started(pid) != Some(start))
}

/// Takes away what runs left that were killed.
pub(super) fn sweep() -> Result<()> {
    // Without the folder there was never a namespace.
    let Ok(entries) = fs::read_dir(NAMES) else { return Ok(()) };
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if is_left(&name) {
            end(&name)?;
        }
    }
    Ok(())
}

/// Ends a namespace: what runs in it, then it, and with it its ends of lines.
pub(super) fn end(namespace: &str) -> Result<()> {
    for pid in ip(&["netns", "pids", namespace])?.split_whitespace() {
        // One that has ended meanwhile is no error.
        let _status = Command::new("kill").args(["-9", pid]).stderr(Stdio::null()).status();
    }
    ip(&["netns", "delete", namespace]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_processes_that_are_gone_are_taken_away() {
        let own = format!("{}0-ada", own_prefix().unwrap());
        assert!(!is_left(&own));
        let pid = std::process::id();
        assert!(is_left(&format!("{PREFIX}-{pid}-1-0-ada")), "the same id, another process");
        for foreign in ["", "ada", "hearth-lab", "hearth-lab-x-1-0-ada", "hearth-laboratory-1-1-0-ada"] {
            assert!(!is_left(foreign), "{foreign}");
        }
    }
}
