//! Real applications as processes: Python ones from `target/venv`, and the Rust service `pulse`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::lines::Lines;
use super::within;

/// A running application, ended with the test.
pub struct App {
    child: Child,
    out: Lines,
}

impl App {
    /// Starts it. Nobody waits for it to be ready: that is the edge's business.
    pub fn start(mut command: Command) -> Self {
        command
            .kill_on_drop(true)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("the application starts");
        let out = Lines::of(child.stdout.take().expect("piped"));
        Self { child, out }
    }

    /// Waits for a line of its standard output.
    pub async fn says(&self, part: &str) -> String {
        self.out.expect(part).await
    }

    /// Asks it to end, as `docker stop` does, and waits until it has.
    pub async fn stop(&mut self) {
        let pid = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        kill_process(pid.expect("it runs"), Signal::TERM).expect("it runs");
        within("the application to end", self.child.wait())
            .await
            .expect("it can be waited for");
    }
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program of the Python environment, which is made when it is missing.
pub async fn python(program: &str) -> Command {
    let made = Command::new("scripts/venv")
        .current_dir(repository())
        .status();
    assert!(
        made.await.expect("scripts/venv runs").success(),
        "scripts/venv could not make target/venv"
    );
    Command::new(repository().join("target/venv/bin").join(program))
}

/// gunicorn with four sync workers, serving `app` of `docker/apps/FOLDER` at `bind`.
pub async fn gunicorn(folder: &str, app: &str, bind: &str, greeting: &Path) -> App {
    let mut command = python("gunicorn").await;
    command.args(["--workers", "4", "--bind", bind, app]);
    command
        .current_dir(repository().join("docker/apps").join(folder))
        .env("GREETING_FILE", greeting);
    App::start(command)
}

/// The `pulse` service at `addr`, built when its source has changed.
pub async fn pulse(addr: &str) -> App {
    let program = pulse_program().await;
    let mut command = Command::new(program);
    command.arg(addr);
    App::start(command)
}

async fn pulse_program() -> PathBuf {
    let target = repository().join("target/pulse");
    let mut build = Command::new(env!("CARGO"));
    build
        .args(["build", "--release", "--locked", "--quiet", "--target-dir"])
        .arg(&target);
    let built = build
        .current_dir(repository().join("docker/apps/pulse"))
        .status()
        .await;
    assert!(built.expect("cargo runs").success(), "pulse does not build");
    target.join("release/pulse")
}

impl Drop for App {
    /// Its workers too: gunicorn's would outlive their master for a second, and the test with them.
    fn drop(&mut self) {
        let Some(id) = self.child.id() else { return };
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let children = children.unwrap_or_default();
        let workers = children
            .split(' ')
            .filter_map(|pid| pid.trim().parse().ok());
        let _ = self.child.start_kill();
        for worker in workers.filter_map(Pid::from_raw) {
            let _ = kill_process(worker, Signal::KILL);
        }
    }
}
