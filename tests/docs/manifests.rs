//! Holds docs/manifests to the program: they are YAML, what they start can be started, and their ports, probes and graces agree
//! with the configuration beside them.

use forebay::config;
use forebay::config::settings::Settings;
use serde_yaml::Value;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

fn directory() -> PathBuf {
    super::root().join("docs/manifests")
}

fn text(name: &str) -> String {
    fs::read_to_string(directory().join(name)).expect("the manifest is there")
}

/// The documents of a file.
fn documents(name: &str) -> Vec<Value> {
    let text = text(name);
    let documents = serde_yaml::Deserializer::from_str(&text);
    let read = |document| serde::Deserialize::deserialize(document).expect("it is YAML");
    documents.map(read).collect()
}

/// The value at a path of keys and indices: "spec.template.spec.containers.0".
fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    let step = |value: &'v Value, key: &str| match key.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(key),
    };
    path.split('.').fold(value, |value, key| {
        step(value, key).unwrap_or_else(|| panic!("no {key} of {path}"))
    })
}

fn words(value: &Value) -> Vec<String> {
    match value {
        Value::Sequence(words) => words
            .iter()
            .map(|word| word.as_str().expect("a word").to_owned())
            .collect(),
        Value::String(line) => line.split_whitespace().map(str::to_owned).collect(),
        other => panic!("{other:?} is no command"),
    }
}

fn loaded(toml: &str) -> Settings {
    config::load_str(toml, "proxy.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

fn ports(settings: &Settings) -> Vec<u64> {
    let ports = settings.listen.iter().map(|listen| listen.addr.port());
    ports.map(u64::from).collect()
}

/// The settings of `forebay run --to X --listen Y`.
fn run_to(command: &[String]) -> Settings {
    let after = |flag: &str| {
        let at = command.iter().position(|word| word == flag);
        at.map(|at| command[at + 1].as_str())
    };
    assert_eq!(command[..2], ["forebay", "run"], "{command:?}");
    let to = after("--to").expect("it says where to");
    config::from_url(to, after("--listen")).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn all_of_them_are_yaml_that_is_tested_here() {
    let files = fs::read_dir(directory()).expect("it is a directory");
    let mut names: Vec<String> = files
        .map(|file| {
            file.expect("it can be listed")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    let tested = [
        "container-instances.yaml",
        "kubernetes.yaml",
        "proxy.toml",
        "service-fabric.yaml",
        "swarm.yaml",
    ];
    assert_eq!(names, tested);
    for name in names.iter().filter(|name| *name != "proxy.toml") {
        assert!(!documents(name).is_empty());
        let text = text(name);
        for directive in ["depends_on:", "links:"] {
            assert!(!text.contains(directive), "{name} has {directive}");
        }
    }
}

#[test]
fn kubernetes() {
    let documents = documents("kubernetes.yaml");
    let of = |kind: &str, name: &str| {
        let found = documents
            .iter()
            .find(|document| at(document, "kind") == kind && at(document, "metadata.name") == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    };
    let toml = at(of("ConfigMap", "forebay"), "data").get("proxy.toml");
    let settings = loaded(toml.and_then(Value::as_str).expect("it is in the map"));
    let pod = at(of("Deployment", "forebay"), "spec.template.spec");
    let container = at(pod, "containers.0");

    let port = at(container, "ports.0.containerPort").as_u64();
    assert_eq!(ports(&settings), Vec::from_iter(port));
    let service = at(of("Service", "forebay"), "spec.ports.0");
    assert_eq!(at(service, "targetPort"), at(container, "ports.0.name"));

    // The application is asked by the name and port of its Service, all of whose pods have an address.
    let application = at(of("Service", "app"), "spec");
    assert_eq!(at(application, "clusterIP"), "None");
    let asked = format!(
        "app:{}",
        at(application, "ports.0.port").as_u64().expect("a port")
    );
    assert!(format!("{:?}", settings.upstreams[0].servers).contains("\"app\""));
    assert!(text("kubernetes.yaml").contains(&format!("http://{asked}\"")));

    // The program finds the file that the map is mounted as, and so do its probes.
    let mounted = format!(
        "{}/proxy.toml",
        at(container, "volumeMounts.0.mountPath")
            .as_str()
            .expect("a path")
    );
    assert_eq!(words(at(container, "args")), ["run", "--config", &mounted]);
    for probe in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let command = words(at(container, &format!("{probe}.exec.command")));
        assert_eq!(command, ["forebay", "healthcheck", "--config", &mounted]);
    }

    let seconds = |value: &Value| Duration::from_secs(value.as_u64().expect("seconds"));
    let sleep = seconds(at(container, "lifecycle.preStop.sleep.seconds"));
    let grace = seconds(at(pod, "terminationGracePeriodSeconds"));
    assert!(
        grace > sleep + settings.server.shutdown_grace,
        "it would be killed while it drains"
    );
}

#[test]
fn swarm() {
    let documents = documents("swarm.yaml");
    let stack = &documents[0];
    let settings = loaded(&text("proxy.toml"));
    let edge = at(stack, "services.edge");
    let port = at(edge, "ports.0.target").as_u64();
    assert_eq!(ports(&settings), Vec::from_iter(port));
    let target = at(edge, "configs.0.target").as_str().expect("a path");
    assert_eq!(words(at(edge, "command")), ["run", "--config", target]);
    let source = at(edge, "configs.0.source").as_str().expect("a name");
    assert_eq!(at(stack, &format!("configs.{source}.file")), "./proxy.toml");
    let test = words(at(edge, "healthcheck.test"));
    assert_eq!(test, ["CMD", "forebay", "healthcheck", "--config", target]);
    let grace = at(edge, "stop_grace_period").as_str().expect("a duration");
    let grace = forebay::units::parse_duration(grace).expect("Docker's durations are ours");
    assert!(
        grace > settings.server.shutdown_grace,
        "it would be killed while it drains"
    );
    assert!(
        stack
            .get("services")
            .is_some_and(|services| services.get("app").is_some())
    );
    assert!(text("proxy.toml").contains("tasks.app"));
}

#[test]
fn container_instances() {
    let documents = documents("container-instances.yaml");
    let group = at(&documents[0], "properties");
    let edge = at(group, "containers.0.properties");
    let settings = run_to(&words(at(edge, "command")));
    let port = at(edge, "ports.0.port").as_u64();
    assert_eq!(ports(&settings), Vec::from_iter(port));
    assert_eq!(at(group, "ipAddress.ports.0.port").as_u64(), port);
    let probe = words(at(edge, "livenessProbe.exec.command"));
    assert_eq!(probe, ["forebay", "healthcheck"]);
    // The application listens where it is asked.
    let asked = words(at(edge, "command"))[3].replace("http://", "");
    assert!(words(at(group, "containers.1.properties.command")).contains(&asked));
}

#[test]
fn service_fabric() {
    let documents = documents("service-fabric.yaml");
    let edge = at(&documents[0], "services.edge");
    let settings = run_to(&words(at(edge, "command")));
    let published = at(edge, "ports.0").as_str().expect("HOST:CONTAINER");
    let (_, inner) = published.split_once(':').expect("HOST:CONTAINER");
    assert_eq!(ports(&settings), [inner.parse::<u64>().expect("a port")]);
    // A service has a name only where it exposes a port, and it is asked on that one.
    let exposed = at(&documents[0], "services.app.ports.0")
        .as_str()
        .expect("a port");
    let (_, inner) = exposed.split_once(':').expect("HOST:CONTAINER");
    assert!(words(at(edge, "command"))[3].ends_with(&format!("://app.site:{inner}")));
}
