//! Which TCP ports a process listens on, as the kernel says.

use std::{collections::HashSet, fs};

use anyhow::{Context as _, Result};

/// The local TCP ports (v4 and v6) in state LISTEN that belong to `pid`.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn listening(pid: u32) -> Result<Vec<u16>> {
    let mut sockets = HashSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).context("the process's descriptors")? {
        let Ok(target) = fs::read_link(entry?.path()) else { continue };
        if let Some(inode) = target.to_string_lossy().strip_prefix("socket:[") {
            sockets.insert(inode.trim_end_matches(']').to_owned());
        }
    }
    let mut ports = Vec::new();
    for table in ["tcp", "tcp6"] {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in text.lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [_, local, _, "0A", _, _, _, _, _, inode, ..] = fields[..] else { continue };
            let port = local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            if let (true, Some(port)) = (sockets.contains(inode), port) {
                ports.push(port);
            }
        }
    }
    ports.sort_unstable();
    ports.dedup();
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #[test]
    fn finds_an_own_listener() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(super::listening(std::process::id()).unwrap().contains(&port));
    }
}
