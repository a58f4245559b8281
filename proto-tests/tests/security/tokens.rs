//! OAUTHBEARER against a real 4.4.0: tokens from a file, from an OIDC provider, and from the program itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forebay::kafka::{
    BearerToken, Client, ClientConfig, CredentialsFault, ErrorKind, Mechanism, PemSource, SecurityConfig,
    SecurityProtocol, TokenFuture, TokenProvider,
};
use forebay_proto_tests::kafka::{Tool, Version};
use forebay_proto_tests::process::{command, run};
use forebay_proto_tests::scratch::cached;

use crate::endpoint::{Asked, Endpoint, closed_port};
use crate::secured::{LIFETIME_MS, LINES, Secured, TOPIC, USER};
use crate::{CLEARTEXT, Properties, at, config, read};

/// A token as Kafka's validator for tests takes it: no signature.
fn token(subject: &str, lifetime: Duration) -> String {
    token_of(subject, SystemTime::now(), lifetime)
}

fn token_of(subject: &str, issued: SystemTime, lifetime: Duration) -> String {
    let issued = issued.duration_since(UNIX_EPOCH).unwrap();
    let end = (issued + lifetime).as_secs();
    let claims = format!("{{\"sub\":\"{subject}\",\"iat\":{},\"exp\":{end}}}", issued.as_secs());
    format!("{}.{}.", base64_url(b"{\"alg\":\"none\"}"), base64_url(claims.as_bytes()))
}

fn base64_url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |six: &[u8]| six.iter().chain([0; 6].iter()).take(6).fold(0, |all, bit| all << 1 | usize::from(*bit));
    bits.chunks(6).map(|six| char::from(DIGITS[digit(six)])).collect()
}

#[test]
fn kafka_4_4_0_takes_a_token_and_refuses_one_that_is_over() {
    let secured = Secured::shared(Version::V4_4_0);
    let file = secured.files.write("bearer", token(USER, Duration::from_secs(3600)));
    let properties = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanism", "OAUTHBEARER".to_owned()),
        ("sasl.oauthbearer.token.endpoint.url", format!("file://{}", file.display())),
        ("ssl.ca.location", secured.file("ca.pem")),
    ];
    assert_eq!(read(&at(secured.sasl_ssl), &properties).unwrap(), LINES);
    let an_hour = Duration::from_secs(3600);
    secured.files.write("bearer", token_of(USER, SystemTime::now() - 2 * an_hour, an_hour));
    let error = read(&at(secured.sasl_ssl), &properties).unwrap_err();
    assert!(error.is_auth() && error.to_string().contains("OAUTHBEARER"), "{error:?}");
    std::fs::remove_file(&file).unwrap();
    let error = read(&at(secured.sasl_ssl), &properties).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("bearer"), "{error}");
}

const CLIENT_ID: &str = "forebay-tests";
const CLIENT_SECRET: &str = "canary-s3cret/+";
/// `forebay-tests:canary-s3cret/+`
const AUTHORIZATION: &str = "Basic Zm9yZWJheS10ZXN0czpjYW5hcnktczNjcmV0Lys=";

/// An answer with a token that holds for so many seconds.
fn given(seconds: u64) -> (u16, String) {
    let token = token(USER, Duration::from_secs(seconds));
    (200, format!("{{\"access_token\":\"{token}\",\"token_type\":\"Bearer\",\"expires_in\":{seconds}}}"))
}

/// As librdkafka is set up, over TLS to the broker.
fn oidc(secured: &Secured, url: &str) -> Properties<'static> {
    vec![
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanisms", "OAUTHBEARER".to_owned()),
        ("sasl.oauthbearer.method", "oidc".to_owned()),
        ("sasl.oauthbearer.client.id", CLIENT_ID.to_owned()),
        ("sasl.oauthbearer.client.secret", CLIENT_SECRET.to_owned()),
        ("sasl.oauthbearer.scope", "kafka read".to_owned()),
        ("sasl.oauthbearer.extensions", "logicalCluster=lkc,traceId=1-2".to_owned()),
        ("sasl.oauthbearer.token.endpoint.url", url.to_owned()),
        ("https.ca.location", secured.file("ca.pem")),
        ("ssl.ca.location", secured.file("ca.pem")),
    ]
}

fn assert_no_secret(text: &str) {
    for secret in [CLIENT_SECRET, AUTHORIZATION.trim_start_matches("Basic ")] {
        assert!(!text.contains(secret), "a secret in {text}");
    }
}

#[test]
fn a_token_endpoint_is_asked_once_for_all_connections() {
    let secured = Secured::shared(Version::V4_4_0);
    let endpoint = Endpoint::https(&secured.files, |_| given(3600));
    assert_eq!(read(&at(secured.sasl_ssl), &oidc(&secured, &endpoint.url())).unwrap(), LINES);
    let wanted = Asked {
        line: "POST /oauth2/token HTTP/1.1".to_owned(),
        authorization: AUTHORIZATION.to_owned(),
        body: "grant_type=client_credentials&scope=kafka+read".to_owned(),
    };
    assert_eq!(endpoint.asked(), [wanted]);
    // In the words of Java's client.
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule";
    let jaas = format!(
        "{module} required clientId=\"{CLIENT_ID}\" clientSecret=\"{CLIENT_SECRET}\" scope=\"kafka read\" \
         extension_logicalCluster=\"lkc\" ssl.truststore.type=\"PEM\" ssl.truststore.location=\"{}\";",
        secured.file("ca.pem")
    );
    let java = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanism", "OAUTHBEARER".to_owned()),
        ("sasl.login.callback.handler.class", HANDLER.to_owned()),
        ("sasl.oauthbearer.token.endpoint.url", endpoint.url()),
        ("sasl.jaas.config", jaas),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", secured.file("ca.pem")),
    ];
    assert_eq!(read(&at(secured.sasl_ssl), &java).unwrap(), LINES);
    let asked = endpoint.asked();
    assert!(asked.len() == 2 && asked[0] == asked[1], "{asked:?}");
}

const HANDLER: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginCallbackHandler";

/// What three clients ask a token endpoint: Java's, librdkafka and ours.
#[test]
fn kafkas_own_client_and_librdkafka_ask_the_same() {
    let secured = Secured::shared(Version::V4_4_0);
    let endpoint = Endpoint::http(|_| given(3600));
    let mut ours = oidc(&secured, &endpoint.url());
    ours.push((CLEARTEXT, "true".to_owned()));
    assert_eq!(read(&at(secured.sasl_ssl), &ours).unwrap(), LINES);
    let by_us = endpoint.asked();

    let properties: String = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanism", "OAUTHBEARER".to_owned()),
        ("sasl.login.callback.handler.class", HANDLER.to_owned()),
        ("sasl.oauthbearer.token.endpoint.url", endpoint.url()),
        ("sasl.oauthbearer.client.credentials.client.id", CLIENT_ID.to_owned()),
        ("sasl.oauthbearer.client.credentials.client.secret", CLIENT_SECRET.to_owned()),
        ("sasl.oauthbearer.scope", "kafka read".to_owned()),
        (
            "sasl.jaas.config",
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;".to_owned(),
        ),
        ("ssl.truststore.type", "PEM".to_owned()),
        ("ssl.truststore.location", secured.file("ca.pem")),
    ]
    .map(|(name, value)| format!("{name}={value}\n"))
    .concat();
    let mut java = secured.cluster.tool(Tool::Consumer);
    java.env("JAVA_TOOL_OPTIONS", format!("-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={}", endpoint.url()));
    java.args(["--topic", TOPIC, "--from-beginning", "--max-messages", "3", "--timeout-ms", "20000"]);
    java.arg("--command-config").arg(secured.files.write("java-oidc.properties", properties));
    // It wants a signature of the token, which the broker's validator for tests does not: so it does not get further than this.
    let output = run(java, b"", Duration::from_secs(120));
    let by_java = endpoint.asked().split_off(by_us.len());
    assert!(!by_java.is_empty(), "{}", output.describe());

    let script = "import sys\nfrom confluent_kafka import Consumer\n\
        c = Consumer(dict(a.split('=', 1) for a in sys.argv[2:]))\nc.subscribe([sys.argv[1]])\nn = 0\n\
        while n < 3:\n  m = c.poll(60)\n  assert m is not None and m.error() is None, m and m.error()\n  \
        print(m.value().decode())\n  n += 1\nc.close()\n";
    let mut librdkafka = command(cached("venv").join("bin/python"));
    librdkafka.args(["-c", script, TOPIC, "group.id=librdkafka-oidc", "auto.offset.reset=earliest"]);
    librdkafka.arg(format!("bootstrap.servers={}", at(secured.sasl_ssl)));
    let ours = ours.iter().filter(|(name, _)| *name != CLEARTEXT);
    librdkafka.args(ours.map(|(name, value)| format!("{name}={value}")));
    let seen = endpoint.asked().len();
    let output = run(librdkafka, b"", Duration::from_secs(120)).expect_success();
    assert_eq!(output.stdout_text(), LINES);
    let by_librdkafka = endpoint.asked().split_off(seen);

    for (who, asked) in [("Java", &by_java), ("librdkafka", &by_librdkafka)] {
        // The space of the scope: Java leaves it as it is, librdkafka writes %20, we a plus; all of them are read as a space.
        let body = asked[0].body.replace("%20", "+").replace(' ', "+");
        assert_eq!((&asked[0].authorization, body), (&by_us[0].authorization, by_us[0].body.clone()), "{who}");
    }
}

#[test]
fn a_token_is_renewed_before_it_ends() {
    let secured = Secured::shared(Version::V4_4_0);
    // The tokens hold for an hour, so that a slow machine does not matter; the endpoint says that they end sooner.
    let seconds = LIFETIME_MS / 1000;
    let endpoint = Endpoint::https(&secured.files, move |_| {
        let token = token(USER, Duration::from_secs(3600));
        (200, format!("{{\"access_token\":\"{token}\",\"expires_in\":{seconds}}}"))
    });
    let mut properties = oidc(&secured, &endpoint.url());
    properties.extend([("security.protocol", "SASL_PLAINTEXT".to_owned()), (CLEARTEXT, "true".to_owned())]);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(config(&at(secured.sasl_plain), &properties).unwrap()).await.unwrap();
        let started = Instant::now();
        while endpoint.asked().len() < 4 {
            client.topic(TOPIC).await.unwrap();
            assert!(started.elapsed() < Duration::from_secs(90), "asked {} times", endpoint.asked().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Not for each of the many requests, nor at once: a token is used for four fifths of its life.
        let least = Duration::from_millis(LIFETIME_MS * 8 / 10) * 3;
        assert!(started.elapsed() >= least, "asked 4 times within {:?}", started.elapsed());
    });
}

#[test]
fn an_endpoint_that_fails_for_a_moment_is_asked_again() {
    let secured = Secured::shared(Version::V4_4_0);
    let endpoint =
        Endpoint::https(&secured.files, |before| if before < 2 { (503, String::new()) } else { given(3600) });
    assert_eq!(read(&at(secured.sasl_ssl), &oidc(&secured, &endpoint.url())).unwrap(), LINES);
    assert_eq!(endpoint.asked().len(), 3);
}

#[test]
fn an_endpoint_that_cannot_be_reached_is_no_refusal() {
    let secured = Secured::shared(Version::V4_4_0);
    let url = format!("https://localhost:{}/token", closed_port());
    let error = read(&at(secured.sasl_ssl), &oidc(&secured, &url)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
    let said = error.to_string();
    assert!(error.is_retriable() && said.contains(&url) && said.contains("refused"), "{said}");
    assert_no_secret(&format!("{said} {error:?}"));
}

#[test]
fn a_client_that_is_refused_is_an_authentication_error_and_says_so_soon() {
    let secured = Secured::shared(Version::V4_4_0);
    let refusal = format!("{{\"error\":\"invalid_client\",\"error_description\":\"not {CLIENT_SECRET}\"}}");
    let endpoint = Endpoint::https(&secured.files, move |_| (401, refusal.clone()));
    let error = read(&at(secured.sasl_ssl), &oidc(&secured, &endpoint.url())).unwrap_err();
    assert!(error.is_auth() && !error.is_retriable(), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("invalid_client: not ***") && said.contains(CLIENT_ID), "{said}");
    assert_no_secret(&format!("{said} {error:?}"));
    assert_eq!(endpoint.asked().len(), 1, "a refusal is not tried again");
}

#[test]
fn a_token_that_is_over_is_refused_by_the_broker() {
    let secured = Secured::shared(Version::V4_4_0);
    // It says that it holds, and does not.
    let over = token_of(USER, SystemTime::now() - Duration::from_secs(7200), Duration::from_secs(3600));
    let answer = format!("{{\"access_token\":\"{over}\",\"expires_in\":3600}}");
    let endpoint = Endpoint::https(&secured.files, move |_| (200, answer.clone()));
    let error = read(&at(secured.sasl_ssl), &oidc(&secured, &endpoint.url())).unwrap_err();
    assert!(error.is_auth() && !error.is_retriable() && error.to_string().contains("OAUTHBEARER"), "{error:?}");
    assert!(!format!("{error} {error:?}").contains(&over), "the token in {error}");
}

#[test]
fn a_secret_goes_nowhere_it_should_not() {
    let secured = Secured::shared(Version::V4_4_0);
    let refused = |properties: &[(&str, String)], wanted: &str| {
        let error = read(&at(secured.sasl_ssl), properties).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains(wanted), "{error}");
        assert_no_secret(&format!("{error} {error:?}"));
    };
    // Without TLS, unless it is meant.
    let plain = Endpoint::http(|_| given(3600));
    refused(&oidc(&secured, &plain.url()), CLEARTEXT);
    // To an endpoint that nobody trusts.
    let endpoint = Endpoint::https(&secured.files, |_| given(3600));
    let mut properties = oidc(&secured, &endpoint.url());
    properties.push(("https.ca.location", secured.file("other-ca.pem")));
    refused(&properties, "UnknownIssuer");
    let other_name = endpoint.url().replace("localhost", "127.0.0.1");
    refused(&oidc(&secured, &other_name), "not valid for name");
    assert_eq!((plain.asked(), endpoint.asked()), (vec![], vec![]));
    // To where a redirect leads.
    let redirect = Endpoint::https(&secured.files, |_| (307, String::new()));
    refused(&oidc(&secured, &redirect.url()), "status 307");
    // An answer that does not end is not held.
    let endless = Endpoint::https(&secured.files, |_| (200, " ".repeat(10_000_000)));
    refused(&oidc(&secured, &endless.url()), "larger than 65536 bytes");
}

/// Has no token at first.
#[derive(Debug, Default)]
struct Own {
    given: AtomicUsize,
    refused: AtomicUsize,
}

impl TokenProvider for Own {
    fn token(&self) -> TokenFuture<'_> {
        Box::pin(async {
            if self.given.fetch_add(1, Ordering::Relaxed) == 0 {
                return Err(CredentialsFault::Unavailable("not yet".to_owned()));
            }
            Ok(BearerToken::new(token(USER, Duration::from_secs(3600))))
        })
    }

    fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_program_gives_its_own_tokens() {
    let secured = Secured::shared(Version::V4_4_0);
    let own = Arc::new(Own::default());
    let mut client = ClientConfig::new([at(secured.sasl_ssl)]);
    client.security = SecurityConfig {
        protocol: SecurityProtocol::SaslSsl,
        mechanism: Some(Mechanism::OauthBearer),
        trust: Some(PemSource::File(secured.file("ca.pem").into())),
        token_provider: Some(own.clone()),
        ..SecurityConfig::default()
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let client = Client::connect(client).await.unwrap();
        assert_eq!(client.topic(TOPIC).await.unwrap().partitions.len(), 1);
    });
    assert!(own.given.load(Ordering::Relaxed) > 1);
    assert_eq!(own.refused.load(Ordering::Relaxed), 0);
}
