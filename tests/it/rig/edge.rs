//! The real program in front of a test's origins: its configuration, its output, its metrics and its signals.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::Child;

use super::lines::Lines;
use super::process::{forebay, marked};
use super::{Client, Origin, Response, client, free_port, within};

/// Starting again with other ports is worth this many tries.
const BIND_TRIES: usize = 5;

/// What a test's configuration gets where it does not say otherwise.
const DEFAULTS: [(&str, &str, &str); 4] = [
    ("server", "name", "\"edge\""),
    ("server", "threads", "2"),
    ("server", "shutdown_grace", "\"20s\""),
    ("admin", "listen", "\"unix:{dir}/admin.sock\""),
];

/// An edge being described.
pub struct EdgeBuilder {
    toml: String,
    values: HashMap<String, String>,
    open_files: Option<u64>,
    private_hosts: bool,
    wrapping: Option<String>,
    directory: tempfile::TempDir,
}

/// An edge with this `proxy.toml`, in which `{o1}` is the URL of the origin "o1" and `{o1.addr}` its address, `{dir}` a
/// directory of its own, and `{listen}` (`{listen2}`, …) an address to listen on. Where it says nothing there is one
/// plain listener, the name "edge" and an admin socket.
pub fn edge(toml: &str) -> EdgeBuilder {
    EdgeBuilder {
        toml: toml.to_owned(),
        values: HashMap::new(),
        open_files: None,
        private_hosts: false,
        wrapping: None,
        directory: temporary_directory(),
    }
}

/// A directory that is gone with the test.
pub fn temporary_directory() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("forebay-it-")
        .tempdir()
        .expect("a temporary directory can be made")
}

impl EdgeBuilder {
    /// Fills in the placeholders of this origin.
    pub fn origin(self, origin: &Origin) -> Self {
        let (name, url, addr) = (
            origin.name().to_owned(),
            origin.url(),
            origin.addr().to_owned(),
        );
        self.value(&format!("{name}.addr"), &addr)
            .value(&name, &url)
    }

    /// Fills in the placeholder `{name}`.
    pub fn value(mut self, name: &str, value: &str) -> Self {
        self.values.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Lets the program have this many open files and no more.
    pub fn open_files(mut self, limit: u64) -> Self {
        self.open_files = Some(limit);
        self
    }

    /// Starts the program by this shell script, in which `"$0" "$@"` is the program with its arguments. It must be `exec`ed.
    pub fn by(mut self, script: &str) -> Self {
        self.wrapping = Some(script.to_owned());
        self
    }

    /// Gives the program a hosts file of its own, and no DNS server.
    pub fn hosts(mut self, hosts: &str) -> Self {
        self.private_hosts = true;
        self.file("hosts", hosts).file(
            "resolv.conf",
            "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n",
        )
    }

    /// Writes a file to the edge's directory.
    pub fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        let path = self.directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("files have a directory")).expect("writable");
        std::fs::write(path, content).expect("the test directory is writable");
        self
    }

    /// The edge's directory.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until it is ready.
    pub async fn start(mut self) -> Edge {
        for _ in 0..BIND_TRIES {
            for name in ["listen", "listen2", "listen3"] {
                self.values
                    .insert(name.to_owned(), format!("127.0.0.1:{}", free_port()));
            }
            let dir = self.directory.path().display().to_string();
            self.values.insert("dir".to_owned(), dir);
            match self.spawn().await {
                Ok((child, out, err)) => {
                    let pid = child.id().expect("it runs");
                    let Self {
                        values, directory, ..
                    } = self;
                    return Edge {
                        child,
                        pid,
                        out,
                        err,
                        values,
                        directory,
                        upgraded: false,
                    };
                }
                // Somebody else took the port in the meantime.
                Err(3) => {}
                Err(code) => panic!("the edge ended with {code} instead of getting ready"),
            }
        }
        panic!("no port could be bound in {BIND_TRIES} tries");
    }

    async fn spawn(&self) -> Result<(Child, Lines, Lines), i32> {
        let dir = self.directory.path();
        let path = dir.join("proxy.toml");
        std::fs::write(&path, configuration(&self.toml, &self.values))
            .expect("the test directory is writable");
        let mut command = match (self.open_files, self.private_hosts, &self.wrapping) {
            (Some(limit), ..) => limited(limit),
            (None, true, _) => with_private_hosts(),
            (None, false, Some(script)) => by(script),
            (None, false, None) => forebay(),
        };
        command
            .args(["run", "--config"])
            .arg(&path)
            .current_dir(dir);
        command.env("FOREBAY_RIG", dir);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let out = Lines::of(child.stdout.take().expect("piped"));
        let err = Lines::of(child.stderr.take().expect("piped"));
        let ready = err.find(|line| line.contains("forebay is ready").then_some(()));
        if within("the edge to get ready", ready).await.is_some() {
            return Ok((child, out, err));
        }
        let status = within("the edge to end", child.wait())
            .await
            .expect("it can be waited for");
        let code = status.code().unwrap_or(-1);
        if code != 3 {
            dump("stderr", &err);
        }
        Err(code)
    }
}

/// The program under `ulimit -n`.
fn limited(open_files: u64) -> tokio::process::Command {
    by(&format!(
        "ulimit -Hn {open_files}; ulimit -Sn {open_files}; exec \"$0\" \"$@\""
    ))
}

/// The program as a shell script starts it.
fn by(script: &str) -> tokio::process::Command {
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", script, env!("CARGO_BIN_EXE_forebay")])
        .kill_on_drop(true);
    command
}

/// The program where `/etc/hosts` and `/etc/resolv.conf` are the files of its directory: a mount namespace of its own.
fn with_private_hosts() -> tokio::process::Command {
    let mut command = tokio::process::Command::new("unshare");
    let exec = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\"";
    command
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            exec,
            env!("CARGO_BIN_EXE_forebay"),
        ])
        .kill_on_drop(true);
    command
}

/// A running edge.
pub struct Edge {
    child: Child,
    pid: u32,
    out: Lines,
    err: Lines,
    values: HashMap<String, String>,
    directory: tempfile::TempDir,
    upgraded: bool,
}

impl Edge {
    /// Where its first listener is.
    pub fn addr(&self) -> &str {
        &self.values["listen"]
    }

    /// What a placeholder stands for, such as `listen2`.
    pub fn value(&self, name: &str) -> &str {
        &self.values[name]
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.directory.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A client of its first listener.
    pub fn client(&self) -> Client {
        client(self.addr())
    }

    /// A client of its admin socket.
    pub fn admin(&self) -> Client {
        client(&format!("unix:{}", self.dir().join("admin.sock").display())).host("localhost")
    }

    /// The access log so far.
    pub fn log(&self) -> Vec<Value> {
        self.out.all().iter().map(|line| json(line)).collect()
    }

    /// Waits for an access log line for this path.
    pub async fn log_line(&self, path: &str) -> Value {
        self.log_where(|line| line["path"] == path).await
    }

    /// Waits for an access log line that is so.
    pub async fn log_where(&self, mut is: impl FnMut(&Value) -> bool) -> Value {
        let line = self
            .out
            .find(|line| Some(json(line)).filter(|value| is(value)));
        within("an access log line", line)
            .await
            .unwrap_or_else(|| panic!("not in the access log: {:#?}", self.out.all()))
    }

    /// Waits for a line of standard output containing `part`.
    pub async fn stdout(&self, part: &str) -> String {
        self.out.expect(part).await
    }

    /// Waits for a line of the program's own log containing `part`.
    pub async fn stderr(&self, part: &str) -> String {
        self.err.expect(part).await
    }

    /// The program's own log so far.
    pub fn stderr_lines(&self) -> Vec<String> {
        self.err.all()
    }

    /// The sum of the metric's samples that have these labels: `name` or `name{label="value",…}`.
    pub async fn metric(&self, wanted: &str) -> f64 {
        let exposition = self.admin().get("/metrics").send().await.expect(200).text();
        sum(&exposition, wanted)
    }

    /// Waits until a metric has this value. For what becomes true after the answer has been sent.
    pub async fn metric_becomes(&self, wanted: &str, value: f64) {
        let becomes = async {
            while (self.metric(wanted).await - value).abs() > f64::EPSILON {
                tokio::task::yield_now().await;
            }
        };
        within(&format!("{wanted} to be {value}"), becomes).await;
    }

    /// Asks for the target until this body is the answer. For what a fetch behind the client's back has stored.
    pub async fn becomes(&self, target: &str, body: &str) -> Response {
        let becomes = async {
            loop {
                let answer = self.client().get(target).send().await.expect(200);
                if answer.text() == body {
                    return answer;
                }
            }
        };
        within(&format!("{target} to be {body:?}"), becomes).await
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: Signal) {
        self.upgraded |= signal == Signal::QUIT;
        let pid = i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, signal).expect("the edge is alive");
    }

    /// Writes a new configuration, with the same placeholders, and does not say so to anybody.
    pub fn write(&self, toml: &str) {
        // By renaming, as careful operators and Kubernetes do it: nobody reads half a file.
        let path = self.dir().join("proxy.toml");
        let fresh = self.dir().join("proxy.toml.new");
        std::fs::write(&fresh, configuration(toml, &self.values))
            .expect("the test directory is writable");
        std::fs::rename(fresh, path).expect("the test directory is writable");
    }

    /// Changes the private hosts file, in place, as Docker does it.
    pub fn set_hosts(&self, hosts: &str) {
        std::fs::write(self.dir().join("hosts"), hosts).expect("the test directory is writable");
    }

    /// Asks for a reload through the admin socket.
    pub async fn reload(&self) -> Response {
        self.admin().post("/reload", "").send().await
    }

    /// Runs on another configuration from here on.
    pub async fn reload_with(&self, toml: &str) {
        self.write(toml);
        self.reload().await.expect(200);
    }

    /// Waits for its end and gives its exit code.
    pub async fn wait_exit(&mut self) -> i32 {
        let status = within("the edge to end", self.child.wait())
            .await
            .expect("it can be waited for");
        status.code().unwrap_or(-1)
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.child.try_wait().expect("it can be asked").is_none()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        if std::thread::panicking() {
            dump("stderr", &self.err);
            dump("stdout", &self.out);
        }
        let _ = self.child.start_kill();
        if self.upgraded {
            let marker = format!("FOREBAY_RIG={}", self.directory.path().display());
            for pid in marked(&marker).into_iter().filter_map(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

/// Fills in placeholders, and defaults where the test says nothing.
pub fn configuration(toml: &str, values: &HashMap<String, String>) -> String {
    let mut text = toml.to_owned();
    // A test of broken files gets them as they are.
    let parsed: toml::Table = toml::from_str(toml).unwrap_or_default();
    if !parsed.is_empty() {
        for (section, key, value) in DEFAULTS {
            let table = parsed.get(section).and_then(toml::Value::as_table);
            if table.is_some_and(|t| t.contains_key(key)) {
                continue;
            }
            let header = format!("[{section}]\n");
            if !text.contains(&header) {
                text = format!("{text}\n{header}");
            }
            text = text.replacen(&header, &format!("{header}{key} = {value}\n"), 1);
        }
        if !parsed.contains_key("listen") {
            text += "\n[[listen]]\naddr = \"{listen}\"\n";
        }
    }
    for (name, value) in values {
        text = text.replace(&format!("{{{name}}}"), value);
    }
    text
}

fn json(line: &str) -> Value {
    serde_json::from_str(line)
        .unwrap_or_else(|e| panic!("an access log line is not JSON: {e}: {line}"))
}

/// Sums the samples of a Prometheus exposition that are called so and have these labels.
fn sum(exposition: &str, wanted: &str) -> f64 {
    let (name, labels) = wanted.split_once('{').unwrap_or((wanted, ""));
    let labels: Vec<&str> = labels
        .trim_end_matches('}')
        .split(',')
        .filter(|l| !l.is_empty())
        .collect();
    let samples = exposition.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        let (found, value) = rest.rsplit_once(' ')?;
        labels
            .iter()
            .all(|label| found.contains(label))
            .then(|| value.parse::<f64>().expect("samples are numbers"))
    });
    samples.sum()
}

/// Lines that a failed test shows of each output of the edge.
const SHOWN: usize = 12;

/// Shows what the edge wrote, for a test that has failed.
#[expect(
    clippy::print_stderr,
    reason = "this is what the test's reader needs to see"
)]
fn dump(what: &str, lines: &Lines) {
    eprintln!("--- the edge's {what}");
    let lines = lines.all();
    for line in lines.iter().skip(lines.len().saturating_sub(SHOWN)) {
        eprintln!("{line}");
    }
}
