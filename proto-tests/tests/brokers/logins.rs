//! Logins on every version, above all on 0.11, whose logins are of another form (SaslHandshake v0, bare messages).

use std::time::Duration;

use forebay::kafka::{Client, ClientConfig, Error, Isolation};
use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::port;
use forebay_proto_tests::scratch::Scratch;

use crate::dump::{Question, answer};

const USER: &str = "alice";
const PASSWORD: &str = "canary-p4ssw0rd";
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// One broker with these settings and a SASL listener, whose port comes back, too.
pub(crate) fn start(version: Version, settings: &[(&str, &str)]) -> (KafkaCluster, u16) {
    let files = Scratch::new("jaas");
    let plain = format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"broker\" password=\"broker-secret\" user_broker=\"broker-secret\" user_{USER}=\"{PASSWORD}\";"
    );
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
    let jaas = files.write("jaas.conf", format!("KafkaServer {{\n  {plain}\n  {scram}\n}};\n"));
    let port = port::free();
    let listener = Listener {
        name: "LOGIN",
        protocol: "SASL_PLAINTEXT",
        port,
        advertised_host: "127.0.0.1",
        advertised_port: port,
    };
    let mechanisms = MECHANISMS.join(",");
    let settings = [settings, &[("sasl.enabled.mechanisms", mechanisms.as_str())]].concat();
    let access = Access {
        listeners: &[listener],
        scram_users: &[(USER, PASSWORD)],
        jvm_settings: &[format!("-Djava.security.auth.login.config={}", jaas.display())],
    };
    (KafkaCluster::start_with_access(version, &settings, &access), port)
}

/// What is wrong with logins there; nothing when all is well.
pub(crate) async fn complaint(port: u16, topic: &'static str) -> String {
    let mut complaint = String::new();
    for mechanism in MECHANISMS {
        match read(port, mechanism, PASSWORD, topic).await {
            Ok(lines) if lines.len() > 1 => {}
            other => complaint += &format!("{mechanism}: {other:?}\n"),
        }
        match read(port, mechanism, "wrong", topic).await {
            Err(error) if error.is_auth() && error.to_string().contains(mechanism) => {}
            other => complaint += &format!("{mechanism} with a wrong password: {other:?}\n"),
        }
    }
    complaint
}

async fn read(port: u16, mechanism: &str, password: &str, topic: &'static str) -> Result<Vec<String>, Error> {
    let mut config = ClientConfig::new([format!("127.0.0.1:{port}")]);
    config.bootstrap_deadline = Duration::from_secs(5);
    for (name, value) in [
        ("security.protocol", "SASL_PLAINTEXT"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", USER),
        ("sasl.password", password),
        ("forebay.sasl.allow.cleartext.secrets", "true"),
    ] {
        assert!(config.set_property(name, value)?, "{name}");
    }
    let client = Client::connect(config).await?;
    answer(&client, &Question::Read(topic, 0, Isolation::ReadUncommitted)).await
}
