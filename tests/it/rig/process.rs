//! The program as a process: where it is, ports it may have, and one-off runs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::within;

/// The program under test.
pub fn forebay() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
    command.kill_on_drop(true).stdin(Stdio::null());
    // What a developer has set for their own edge is not for this one.
    for name in ["FOREBAY_CONFIG", "FOREBAY_TO", "RUST_LOG"] {
        command.env_remove(name);
    }
    command
}

/// How a run of the program ended.
#[derive(Debug, Clone)]
pub struct Run {
    /// The exit code; -1 for a signal.
    pub code: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Run {
    /// It ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    /// Standard output contains this.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stdout.contains(part), "no {part:?} in {self:#?}");
        self
    }

    /// Standard error contains this.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "no {part:?} in {self:#?}");
        self
    }
}

/// Runs the program in `directory` to its end.
pub async fn run_forebay(directory: &Path, args: &[&str]) -> Run {
    let run = forebay().args(args).current_dir(directory).output();
    let output = within(&format!("`forebay {}` to end", args.join(" ")), run)
        .await
        .expect("the program starts");
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A port that nobody has, outside the range from which the kernel gives ports to clients, so that it stays free
/// until it is bound, and refuses until then.
pub fn free_port() -> u16 {
    loop {
        let port = fastrand::u16(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// The resident memory of a process.
pub fn resident_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

/// The most resident memory that a process ever had.
pub fn peak_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, key: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is alive");
    let line = status.lines().find_map(|l| l.strip_prefix(key));
    let value = line
        .expect("the kernel tells it")
        .trim()
        .trim_end_matches(" kB");
    value.parse().expect("a number of kB")
}

/// Processes that inherited `marker` in their environment.
pub fn marked(marker: &str) -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there");
    let carries = |path: &PathBuf| {
        let environment = std::fs::read(path.join("environ")).unwrap_or_default();
        memchr::memmem::find(&environment, marker.as_bytes()).is_some()
    };
    entries
        .filter_map(|entry| entry.ok().map(|e| e.path()))
        .filter_map(|path| {
            let pid = path.file_name()?.to_str()?.parse::<i32>().ok()?;
            (pid != i32::try_from(std::process::id()).ok()? && carries(&path)).then_some(pid)
        })
        .collect()
}
