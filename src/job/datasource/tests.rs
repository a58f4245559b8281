#![allow(clippy::unwrap_used, clippy::indexing_slicing)]
use super::*;

const FILE: &str = r#"
[odps_first]
type = "odps"
project = "p1"
endpoint = "http://127.0.0.1:9/api"
access_id = "id1"
access_key = "${KEY}"

[datasources.other]
project = "p2"
endpoint = "https://h/api"
tunnel_endpoint = "https://t"
access_id = "id2"
access_key = "canary"
schema = "s"
quota = "q"
security_token = "canary"
region = "cn-hangzhou"

[unused]
access_key = "${NOWHERE}"

[kafka_prod]
type = "kafka"
address = [{ host = "a", port = 9093 }, { host = "b" }]
securityProtocol = "authTypeNone"
kafkaConfig = { "group.id" = "g", "fetch.min.bytes" = 7 }

[kafka_list]
type = "kafka"
address = ["a:1", "b:2,c:3"]

[kafka_sasl]
type = "kafka"
address = ["a:1"]
securityProtocol = "authTypeSaslPlaintext"
saslMechanism = "plain"
username = "u"
password = "canary"

[kafka_kerberos]
address = "a:1"
securityProtocol = "authTypeSaslSsl"
saslMechanism = "gssapi"

[kafka_odd]
address = "a:1"
securityProtocol = "authTypeMagic"
"#;

fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn sources(pairs: &[(&str, &str)]) -> Sources {
    Sources { datasources: Datasources::parse("ds.toml", FILE).unwrap(), env: env(pairs), ..Sources::default() }
}

fn refusal(name: &str, sources: &Sources) -> String {
    resolve_odps(name, sources).unwrap_err().to_string()
}

#[test]
fn tables_are_names_at_the_top_and_under_datasources() {
    let sources = sources(&[("KEY", "canary")]);
    let first = resolve_odps("", &sources).unwrap();
    assert_eq!((first.project.as_str(), first.access_key.expose()), ("p1", "canary"));
    assert_eq!(first.tunnel_endpoint, None);
    assert_eq!(first.source, "data source odps_first (ds.toml:2:1)");
    let other = resolve_odps("other", &sources).unwrap();
    assert_eq!(other.tunnel_endpoint.as_deref(), Some("https://t"));
    assert_eq!(other.security_token.as_ref().map(Secret::expose), Some("canary"));
    assert_eq!((other.schema.as_deref(), other.quota.as_deref()), (Some("s"), Some("q")));
    assert!(!format!("{first:?} {other:?}").contains("canary"));
}

#[test]
fn what_cannot_be_filled_in_is_named_only_when_used() {
    assert_eq!(
        refusal("odps_first", &sources(&[])),
        "ds.toml:7:14: odps_first.access_key: environment variable KEY is not set"
    );
    assert!(resolve_odps("other", &sources(&[])).is_ok());
}

#[test]
fn an_unknown_name_lists_the_known_ones() {
    let said = refusal("oter", &sources(&[]));
    assert!(said.contains("data source \"oter\" is not configured"), "{said}");
    assert!(said.contains("did you mean other? Known names: kafka_kerberos, kafka_list, "), "{said}");
    let said = refusal("x", &Sources::default());
    assert!(said.contains("no data sources are known"), "{said}");
}

#[test]
fn another_type_is_refused() {
    assert!(refusal("kafka_prod", &sources(&[])).contains("is \"kafka\", but the job needs one of type \"odps\""));
}

#[test]
fn missing_keys_are_named_as_the_source_calls_them() {
    let datasources = Datasources::parse("ds.toml", "[odps_first]\nproject = \"p\"\n").unwrap();
    let said = refusal("", &Sources { datasources, ..Sources::default() });
    assert!(said.contains("does not give endpoint, access_id, access_key"), "{said}");
    let odps_config = Some(OdpsConfig::parse("odps_config.ini", "project_name=p\naccess_id=i"));
    let said = refusal("", &Sources { odps_config, ..Sources::default() });
    assert!(said.contains("odps_config.ini does not give end_point, access_key"), "{said}");
    let said = refusal("", &Sources { env: env(&[("ODPS_ENDPOINT", "http://h/api")]), ..Sources::default() });
    assert!(said.contains("the environment does not give ODPS_PROJECT_NAME, ALIBABA_CLOUD_ACCESS_KEY_ID"), "{said}");
}

#[test]
fn nothing_configured_says_how_to() {
    let said = refusal("", &Sources::default());
    assert!(said.contains("odps_first is not configured") && said.contains("--datasources FILE"), "{said}");
}

#[test]
fn odps_config_is_read_as_odpscmd_does() {
    let text = "# c\nproject_name = p\naccess_id=i\naccess_key=a=b==\nend_point=https://h/api\n\
                tunnel_endpoint=\nschema_name=s\nquota_name=q\nregion_id=r\nhttps_check=false\nrubbish\n";
    let odps_config = Some(OdpsConfig::parse("odps_config.ini", text));
    let connection = resolve_odps("odps_first", &Sources { odps_config, ..Sources::default() }).unwrap();
    assert_eq!(connection.access_key.expose(), "a=b==");
    assert_eq!(connection.tunnel_endpoint, None);
    assert_eq!((connection.schema.as_deref(), connection.region.as_deref()), (Some("s"), Some("r")));
    assert_eq!(connection.source, "odps_config.ini");
}

#[test]
fn environment_families_are_not_mixed() {
    let all = [
        ("ODPS_PROJECT_NAME", "p"),
        ("ODPS_ENDPOINT", "https://h/api"),
        ("ODPS_TUNNEL_ENDPOINT", "https://t"),
        ("ODPS_REGION_NAME", "r"),
        ("ALIBABA_CLOUD_ACCESS_KEY_ID", "i"),
        ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "k"),
        ("ODPS_STS_TOKEN", "of another family"),
    ];
    let connection = resolve_odps("", &Sources { env: env(&all), ..Sources::default() }).unwrap();
    assert_eq!((connection.access_id.as_str(), connection.access_key.expose()), ("i", "k"));
    assert_eq!(connection.security_token, None);
    assert_eq!(connection.source, "the environment");
    let sts = [
        ("ODPS_PROJECT_NAME", "p"),
        ("ODPS_ENDPOINT", "https://h/api"),
        ("ODPS_STS_ACCESS_KEY_ID", "i"),
        ("ODPS_STS_ACCESS_KEY_SECRET", "k"),
        ("ODPS_STS_TOKEN", "t"),
    ];
    let connection = resolve_odps("", &Sources { env: env(&sts), ..Sources::default() }).unwrap();
    assert_eq!(connection.security_token.as_ref().map(Secret::expose), Some("t"));
}

#[test]
fn the_first_source_that_knows_the_name_is_taken_whole() {
    let ini =
        OdpsConfig::parse("i.ini", "project_name=ini\naccess_id=i\naccess_key=k\nend_point=http://h/api\nquota_name=q");
    let mut sources = sources(&[("KEY", "k"), ("ODPS_PROJECT_NAME", "env")]);
    sources.odps_config = Some(ini);
    let connection = resolve_odps("", &sources).unwrap();
    assert_eq!((connection.project.as_str(), connection.quota), ("p1", None));
    sources.datasources = Datasources::default();
    assert_eq!(resolve_odps("", &sources).unwrap().project, "ini");
}

#[test]
fn addresses_are_checked_without_repeating_them() {
    for (endpoint, wanted) in [
        ("h/api", "does not begin with http:// or https://"),
        ("http://u:canary@h/api", "carries a user name"),
        ("http:///api", "is not an address"),
        ("http://h/a pi", "is not an address"),
    ] {
        let text = format!("[odps_first]\nproject='p'\nendpoint='{endpoint}'\naccess_id='i'\naccess_key='k'\n");
        let datasources = Datasources::parse("ds.toml", &text).unwrap();
        let said = refusal("", &Sources { datasources, ..Sources::default() });
        assert!(said.contains(wanted) && !said.contains("canary"), "{said}");
    }
}

#[test]
fn kafka_addresses_come_in_three_forms() {
    let find = |name: &str| {
        let report = Report::default();
        let found = find_kafka(name, &sources(&[]), &report, "Reader.datasource", &Place::Job);
        (found.map(|(source, _)| source), report.finish("j"))
    };
    let (source, said) = find("kafka_prod");
    let source = source.unwrap();
    assert_eq!(source.servers, ["a:9093", "b:9092"]);
    let properties: Vec<_> = source.properties.iter().map(|(k, v, _)| (k.as_str(), v.as_str())).collect();
    assert_eq!(properties, [("security.protocol", "PLAINTEXT"), ("fetch.min.bytes", "7"), ("group.id", "g")]);
    assert_eq!(said, Ok(vec![]));
    assert_eq!(find("kafka_list").0.unwrap().servers, ["a:1", "b:2", "c:3"]);
    let said = find("nobody").1.unwrap_err().to_string();
    assert!(said.contains("Reader.datasource: data source \"nobody\" is not configured"), "{said}");
}

#[test]
fn the_vendors_security_keys_become_consumer_properties() {
    let find = |name: &str| {
        let report = Report::default();
        let found = find_kafka(name, &sources(&[]), &report, "Reader.datasource", &Place::Job);
        let properties = found.map(|(source, _)| source.properties).unwrap_or_default();
        let properties: Vec<_> = properties.into_iter().map(|(key, value, _)| format!("{key}={value}")).collect();
        (properties, report.finish("j").map(|_| ()).map_err(|errors| errors.to_string()))
    };
    let (properties, said) = find("kafka_sasl");
    assert_eq!(said, Ok(()));
    assert_eq!(
        properties,
        ["security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=u", "sasl.password=canary"]
    );
    let said = find("kafka_kerberos").1.unwrap_err();
    assert!(said.contains("kafka_kerberos.saslMechanism: GSSAPI (Kerberos) is not supported"), "{said}");
    let said = find("kafka_odd").1.unwrap_err();
    assert!(said.contains("authTypeMagic") && said.contains("authTypeSaslSsl"), "{said}");
}

#[test]
fn only_datasources_of_a_configuration_are_names() {
    let text = "[log]\nlevel = 1\n[datasources.a]\nproject = 'p'\n";
    let config = Datasources::parse_config("forebay.toml", text).unwrap();
    assert_eq!(config.names().collect::<Vec<_>>(), ["a"]);
    assert!(
        Datasources::parse("x", "a = 1").unwrap_err().to_string().contains("a: must be a table [a], but is a number")
    );
    let mut both = Datasources::parse("d", "[a]\nproject='mine'\n").unwrap();
    both.extend(config);
    assert_eq!(both.names().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn job_keys_go_over_and_credentials_stay_together() {
    let below = OdpsKeys {
        project: Some("p".into()),
        access_id: Some("i".into()),
        access_key: Some(Secret::new("k")),
        security_token: Some(Secret::new("t")),
        ..OdpsKeys::default()
    };
    let own = OdpsKeys { access_id: Some("j".into()), access_key: Some(Secret::new("l")), ..OdpsKeys::default() };
    let both = own.over(below.clone());
    assert_eq!((both.project.as_deref(), both.access_id.as_deref()), (Some("p"), Some("j")));
    assert_eq!(both.security_token, None);
    let own = OdpsKeys { project: Some("mine".into()), ..OdpsKeys::default() };
    let both = own.over(below);
    assert_eq!((both.project.as_deref(), both.access_id.as_deref()), (Some("mine"), Some("i")));
    assert!(!both.is_complete());
}
