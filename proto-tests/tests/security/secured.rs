//! A broker of each version with every kind of listener: certificates by openssl and keytool, users by Kafka's own means.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use forebay_proto_tests::kafka::{Access, KafkaCluster, Listener, Version};
use forebay_proto_tests::port;
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::Scratch;

use crate::relay::Relay;

/// The user that every mechanism knows. No part of the password appears anywhere else.
pub(crate) const USER: &str = "alice";
pub(crate) const PASSWORD: &str = "canary-p4ssw0rd";
/// Another user, who has no right on what only others may use.
pub(crate) const OTHER_USER: &str = "bob";
pub(crate) const OTHER_PASSWORD: &str = "canary-b0b";
/// How long a SCRAM login holds on the relayed listener of 4.4.0, and one with a token on the one without TLS, in milliseconds.
pub(crate) const LIFETIME_MS: u64 = 2_000;
/// What the topic [`TOPIC`] holds.
pub(crate) const LINES: &str = "one\ntwo\nthree\n";
pub(crate) const TOPIC: &str = "secured";

/// One broker, its certificates and its ports.
#[derive(Debug)]
pub(crate) struct Secured {
    pub(crate) cluster: KafkaCluster,
    pub(crate) version: Version,
    /// SASL over TLS.
    pub(crate) sasl_ssl: u16,
    /// SASL without TLS.
    pub(crate) sasl_plain: u16,
    /// TLS without SASL.
    pub(crate) ssl: u16,
    /// TLS that wants a certificate of the client.
    pub(crate) mutual: u16,
    /// TLS that advertises a name its certificate is not for.
    pub(crate) astray: u16,
    /// TLS with a certificate whose time is over.
    pub(crate) expired: u16,
    /// TLS with a certificate that no CA has signed.
    pub(crate) self_signed: u16,
    /// SASL without TLS, which advertises the relay.
    pub(crate) relay: Relay,
    pub(crate) files: Scratch,
}

impl Secured {
    /// The one of this version that the tests share.
    pub(crate) fn shared(version: Version) -> Arc<Self> {
        static OLD: Mutex<Weak<Secured>> = Mutex::new(Weak::new());
        static NEW: Mutex<Weak<Secured>> = Mutex::new(Weak::new());
        let slot = if version == Version::V1_0_1 { &OLD } else { &NEW };
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let secured = Arc::new(Self::start(version));
            *slot = Arc::downgrade(&secured);
            secured
        })
    }

    /// A file of the certificates.
    pub(crate) fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    fn start(version: Version) -> Self {
        let files = certificates();
        let ports: [u16; 8] = std::array::from_fn(|_| port::free());
        let [sasl_ssl, sasl_plain, ssl, mutual, astray, expired, self_signed, relayed] = ports;
        let relay = Relay::to(relayed);
        let listener = |name, protocol, port| Listener {
            name,
            protocol,
            port,
            advertised_host: "localhost",
            advertised_port: port,
        };
        let listeners = [
            listener("SASLSSL", "SASL_SSL", sasl_ssl),
            listener("SASLPLAIN", "SASL_PLAINTEXT", sasl_plain),
            listener("TLS", "SSL", ssl),
            listener("MUTUAL", "SSL", mutual),
            Listener { advertised_host: "127.0.0.1", ..listener("ASTRAY", "SSL", astray) },
            listener("EXPIRED", "SSL", expired),
            listener("SELFSIGNED", "SSL", self_signed),
            Listener { advertised_port: relay.port(), ..listener("RELAYED", "SASL_PLAINTEXT", relayed) },
        ];
        let properties = broker_properties(version, &files);
        let pairs: Vec<(&str, &str)> = properties.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        // Before 1.1 a broker's users are in a file of Java's.
        let jaas = files.write("jaas.conf", format!("KafkaServer {{\n  {}\n  {SCRAM_MODULE}\n}};\n", plain_module()));
        let jvm_settings = if version < Version::V1_1_1 {
            vec![format!("-Djava.security.auth.login.config={}", jaas.display())]
        } else {
            Vec::new()
        };
        let access = Access { listeners: &listeners, scram_users: &[(USER, PASSWORD)], jvm_settings: &jvm_settings };
        let cluster = KafkaCluster::start_with_access(version, &pairs, &access);
        cluster.create_topic(TOPIC, 1, 1);
        cluster.produce(TOPIC, LINES, &[]);
        Self { cluster, version, sasl_ssl, sasl_plain, ssl, mutual, astray, expired, self_signed, relay, files }
    }
}

const SCRAM_MODULE: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";

fn plain_module() -> String {
    format!(
        "org.apache.kafka.common.security.plain.PlainLoginModule required \
         username=\"broker\" password=\"broker-secret\" user_broker=\"broker-secret\" user_{USER}=\"{PASSWORD}\" \
         user_{OTHER_USER}=\"{OTHER_PASSWORD}\";"
    )
}

fn broker_properties(version: Version, files: &Scratch) -> Vec<(String, String)> {
    let file = |name: &str| files.path().join(name).display().to_string();
    let mut properties: Vec<(String, String)> = [
        ("ssl.keystore.type", "PKCS12".to_owned()),
        ("ssl.keystore.location", file("server.p12")),
        ("ssl.keystore.password", STORE_PASSWORD.to_owned()),
        ("ssl.key.password", STORE_PASSWORD.to_owned()),
        ("ssl.truststore.type", "PKCS12".to_owned()),
        ("ssl.truststore.location", file("trust.p12")),
        ("ssl.truststore.password", STORE_PASSWORD.to_owned()),
        ("listener.name.expired.ssl.keystore.location", file("expired.p12")),
        ("listener.name.selfsigned.ssl.keystore.location", file("self-signed.p12")),
        ("listener.name.mutual.ssl.client.auth", "required".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec();
    let mut set = |key: &str, value: &str| properties.push((key.to_owned(), value.to_owned()));
    // Whoever comes without a login may do everything, as Kafka's own tools do; what has no entry is everybody's.
    let authorizer = match version {
        Version::V1_0_1 => "kafka.security.auth.SimpleAclAuthorizer",
        _ => "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    };
    set("authorizer.class.name", authorizer);
    set("super.users", "User:ANONYMOUS");
    set("allow.everyone.if.no.acl.found", "true");
    let mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512";
    if version < Version::V1_1_1 {
        set("sasl.enabled.mechanisms", mechanisms);
        return properties;
    }
    set("sasl.enabled.mechanisms", &format!("{mechanisms},OAUTHBEARER"));
    // Kafka's own validator for tests: it takes tokens without a signature.
    let token_module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                        unsecuredLoginStringClaim_sub=\"broker\";";
    for listener in ["saslssl", "saslplain", "relayed"] {
        for (mechanism, module) in [
            ("plain", plain_module().as_str()),
            ("scram-sha-256", SCRAM_MODULE),
            ("scram-sha-512", SCRAM_MODULE),
            ("oauthbearer", token_module),
        ] {
            set(&format!("listener.name.{listener}.{mechanism}.sasl.jaas.config"), module);
        }
    }
    set("listener.name.relayed.scram-sha-256.connections.max.reauth.ms", &LIFETIME_MS.to_string());
    set("listener.name.saslplain.oauthbearer.connections.max.reauth.ms", &LIFETIME_MS.to_string());
    properties
}

const STORE_PASSWORD: &str = "store-secret";
const PASSOUT: &str = "-passout pass:store-secret";

/// Two CAs, of which the broker trusts the first; a broker's certificate for `localhost` alone; a client's from each CA.
fn certificates() -> Scratch {
    let files = Scratch::new("certificates");
    files.write("localhost.ext", "subjectAltName=DNS:localhost\n");
    files.write("client.ext", "extendedKeyUsage=clientAuth\n");
    for ca in ["ca", "other-ca"] {
        let words = format!("req -x509 -newkey rsa:2048 -nodes -keyout {ca}.key -out {ca}.pem -days 30 -subj /CN={ca}");
        call(&files, "openssl", &words);
    }
    for (name, ca, extensions) in
        [("server", "ca", "localhost.ext"), ("client", "ca", "client.ext"), ("other-client", "other-ca", "client.ext")]
    {
        let words = format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}");
        call(&files, "openssl", &words);
        let words = format!(
            "x509 -req -in {name}.csr -CA {ca}.pem -CAkey {ca}.key -CAcreateserial -out {name}.pem -days 30 -extfile {extensions}"
        );
        call(&files, "openssl", &words);
    }
    let words = "req -newkey rsa:2048 -nodes -keyout expired.key -out expired.csr -subj /CN=expired";
    call(&files, "openssl", words);
    // Of the two tools, this one can begin in the past.
    call(&files, "openssl", &format!("pkcs12 -export -in ca.pem -inkey ca.key -name ca -out ca.p12 {PASSOUT}"));
    let words =
        "-gencert -keystore ca.p12 -alias ca -infile expired.csr -outfile expired.pem -rfc -ext san=dns:localhost";
    call(&files, "keytool", &format!("{words} -startdate -10d -validity 5 -storepass {STORE_PASSWORD}"));
    let words =
        "req -x509 -newkey rsa:2048 -nodes -keyout self-signed.key -out self-signed.pem -days 30 -subj /CN=self";
    let extensions = "-addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE";
    call(&files, "openssl", &format!("{words} {extensions}"));
    for name in ["server", "expired", "self-signed"] {
        let words = format!("pkcs12 -export -in {name}.pem -inkey {name}.key -name {name} -out {name}.p12 {PASSOUT}");
        call(&files, "openssl", &words);
    }
    let words = "-importcert -noprompt -alias ca -file ca.pem -keystore trust.p12 -storetype PKCS12";
    call(&files, "keytool", &format!("{words} -storepass {STORE_PASSWORD}"));
    let words = "-importcert -noprompt -alias ca -file ca.pem -keystore trust.jks -storetype JKS";
    call(&files, "keytool", &format!("{words} -storepass {STORE_PASSWORD}"));
    // As Java's PEM key stores have it: certificate and key in one file.
    let read = |name: &str| std::fs::read_to_string(files.path().join(name)).expect("it was just written");
    files.write("client-store.pem", read("client.pem") + &read("client.key"));
    files
}

fn call(files: &Scratch, program: &str, words: &str) {
    let mut command: Command = command(program);
    command.current_dir(files.path()).args(words.split(' '));
    let _output = run(command, b"", Duration::from_secs(60)).expect_success();
}
