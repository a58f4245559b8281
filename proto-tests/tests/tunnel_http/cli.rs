//! `forebay sql` as a user calls it.

use std::time::Duration;

use forebay_proto_tests::cli::forebay;
use forebay_proto_tests::process::{Output, Running, run};
use forebay_proto_tests::scratch::Scratch;
use rustix::process::Signal;

use super::server::{ACCESS_ID, ACCESS_KEY, Asked, Reply, Service};
use super::{INSTANCE, SUBMIT, sql_reply};

const LIMIT: Duration = Duration::from_secs(60);

fn sources(scratch: &Scratch, service: &Service) -> String {
    let text = format!(
        "[odps_first]\ntype = \"odps\"\nproject = \"p\"\nendpoint = \"http://{}/api\"\naccess_id = \"{ACCESS_ID}\"\n\
         access_key = \"{ACCESS_KEY}\"\n",
        service.address
    );
    scratch.write("sources.toml", text).display().to_string()
}

/// Runs `forebay sql` against `service`; whatever it prints, the key is not in it.
fn sql(service: &Service, arguments: &[&str], input: &str) -> Output {
    let scratch = Scratch::new("sql");
    let mut command = forebay(&scratch);
    command.args(["sql", "--datasources", &sources(&scratch, service), "--retries", "0"]).args(arguments);
    let output = run(command, input.as_bytes(), LIMIT);
    assert!(!output.describe().contains(ACCESS_KEY), "{}", output.describe());
    output
}

/// A service where every statement gives two rows of two columns: (1, NULL) and (x;y, empty).
fn two_rows() -> Service {
    Service::start(|asked, _| {
        let result = "<Result Format=\"csv\"><![CDATA[\"a\",\"b\"\n1,\\N\n\"x;y\",\"\"\n]]></Result>";
        sql_reply(&asked.line(), &[], "Success", result).unwrap()
    })
}

fn submitted(service: &Service) -> Vec<String> {
    let asked = service.asked().into_iter().filter(|asked| asked.line() == SUBMIT);
    let query = |asked: Asked| {
        let body = String::from_utf8(asked.body).unwrap();
        let (_, rest) = body.split_once("<Query>").unwrap();
        rest.split_once("</Query>").unwrap().0.to_owned()
    };
    asked.map(query).collect()
}

#[test]
fn results_print_as_table_csv_and_json() {
    let service = two_rows();
    let table = "+-----+------+\n| a   | b    |\n+-----+------+\n| 1   | NULL |\n| x;y |      |\n+-----+------+\n";
    let csv = "a,b\n1,\\N\nx;y,\"\"\n";
    let json = "[\n{\"a\":\"1\",\"b\":null},\n{\"a\":\"x;y\",\"b\":\"\"}\n]\n";
    for (arguments, wanted) in
        [(&["-e", "select 1"][..], table), (&["select 1", "-o", "csv"], csv), (&["-o", "json", "-f", "-"], json)]
    {
        let output = sql(&service, arguments, "select 1;").expect_success();
        assert_eq!(output.stdout_text(), wanted);
    }
}

#[test]
fn statements_run_in_order_and_settings_go_along() {
    let service = two_rows();
    let script = "set a.b=1;\n-- first; really\nselect ';' ;\nselect 2";
    sql(&service, &["--hint", "c=d"], script).expect_success();
    assert_eq!(submitted(&service), ["-- first; really\nselect ';';", "select 2;"]);
    let body = String::from_utf8(service.asked()[0].body.clone()).unwrap();
    assert!(body.contains("{\"c\":\"d\",\"a.b\":\"1\"}"), "{body}");
}

#[test]
fn failures_have_their_codes() {
    let code = |service: &Service, arguments: &[&str]| {
        let output = sql(service, arguments, "");
        assert_eq!(output.stdout_text(), "", "{}", output.describe());
        (output.code, output.stderr_text())
    };
    let refusal = Service::start(|_, _| Reply::error(401, "SignatureNotMatch").with("x-odps-request-id", "R9"));
    let (status, text) = code(&refusal, &["select 1"]);
    assert_eq!(status, 77);
    assert!(text.contains("SignatureNotMatch") && text.contains("R9") && text.contains("sources.toml"), "{text}");

    let busy = Service::start(|_, _| Reply::status(503, ""));
    assert_eq!(code(&busy, &["select 1"]).0, 69);

    let failing = Service::start(|asked, _| {
        let words = "<Result Format=\"text\">ODPS-0130131:[1,15] Table not found - p.nope</Result>";
        sql_reply(&asked.line(), &[], "Failed", words).unwrap()
    });
    let (status, text) = code(&failing, &["select * from nope; select 2"]);
    assert_eq!(status, 1);
    assert!(text.contains("Table not found - p.nope"), "{text}");
    assert_eq!(submitted(&failing).len(), 1, "nothing runs after a failure");

    let idle = two_rows();
    assert_eq!(code(&idle, &["--datasource", "other", "select 1"]).0, 78);
    assert_eq!(code(&idle, &["-e", "select 'x"]).0, 2);
    assert_eq!(code(&idle, &["-e", " ; "]).0, 2);
    assert_eq!(code(&idle, &["-f", "nowhere.sql"]).0, 78);
    assert_eq!(code(&idle, &["-e", "select 1", "-f", "x"]).0, 2);
    assert!(idle.asked().is_empty());
}

#[test]
fn an_interrupt_cancels_the_statement() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let service = Service::start(|asked, _| sql_reply(&asked.line(), &["Running"], "", "").unwrap());
        let scratch = Scratch::new("sql");
        let mut command = forebay(&scratch);
        command.args(["sql", "--datasources", &sources(&scratch, &service), "-e", "select 1"]);
        let running = Running::start(command, b"");
        let deadline = std::time::Instant::now() + LIMIT;
        while service.count(&format!("GET {INSTANCE}?curr_project")) == 0 {
            assert!(std::time::Instant::now() < deadline, "the statement is never asked for");
            std::thread::sleep(Duration::from_millis(20));
        }
        running.signal(signal);
        let output = running.finish(LIMIT);
        assert_eq!(output.code, code, "{}", output.describe());
        assert_eq!(service.count(&format!("PUT {INSTANCE}?curr_project")), 1);
    }
}
