//! Statements and queries as MaxCompute takes them, through the REST interface.

use super::Local;

#[tokio::test]
async fn the_walkthrough() {
    let local = Local::new().await;
    let ddl = "CREATE TABLE testkafka (\n\n`key` string,\n`value` string,\n`partition1` string,\n`timestamp1` string,\n`offset` string,\n`t123` string,\n`event_id` string,\n`tag` string\n) ;\n";
    local.ok(ddl).await;
    let id = local.upload("testkafka", "").await;
    let mut encoder = crate::tunnel::RowEncoder::new();
    for (offset, value) in ["123", "abc"].iter().enumerate() {
        encoder.string(1, value.as_bytes());
        encoder.string(2, b"0");
        encoder.string(3, b"1700000000000");
        encoder.string(4, offset.to_string().as_bytes());
        encoder.string(5, b"123");
        encoder.end_row();
    }
    local.block("testkafka", &id, 0, &encoder.finish()).await;
    local.commit("testkafka", &id).await;
    assert_eq!(
        local.ok("select * from testkafka;").await,
        "\"key\",\"value\",\"partition1\",\"timestamp1\",\"offset\",\"t123\",\"event_id\",\"tag\"\n\
         \\N,\"123\",\"0\",\"1700000000000\",\"0\",\"123\",\\N,\\N\n\
         \\N,\"abc\",\"0\",\"1700000000000\",\"1\",\"123\",\\N,\\N\n"
    );
    assert_eq!(
        local
            .rows("SELECT Offset, `Value`, key, TIMESTAMP1 FROM TestKafka WHERE offset >= 1 ORDER BY `offset` LIMIT 5")
            .await,
        ["\"1\",\"abc\",\\N,\"1700000000000\""]
    );
    assert_eq!(
        local.ok("select count(*), sum(cast(offset as bigint)) as s, max(timestamp1) from sandbox.testkafka t").await,
        "\"_c0\",\"s\",\"_c2\"\n\"2\",\"1\",\"1700000000000\"\n"
    );
}

#[tokio::test]
async fn tables_come_and_go() {
    let local = Local::new().await;
    local.ok("create table if not exists a (x bigint)").await;
    local.ok("CREATE TABLE IF NOT EXISTS A (y string)").await;
    let (status, text) = local.sql("create table a (x bigint)").await;
    assert_eq!(
        (status.as_str(), &*text),
        ("Failed", "ODPS-0130211:[1,14] Table or view already exists - table or view sandbox.a is already defined")
    );
    local.ok("create table b like a; create table c as select x + 1 as y from a").await;
    assert_eq!(local.ok("show tables").await, "ALIYUN$sandbox:a\nALIYUN$sandbox:b\nALIYUN$sandbox:c");
    assert_eq!(local.ok("show tables like 'B*'").await, "ALIYUN$sandbox:b");
    assert_eq!(local.ok("show create table b").await, "CREATE TABLE IF NOT EXISTS sandbox.`b`(`x` BIGINT);");
    assert!(local.ok("desc c").await.contains("y               | bigint"));
    local.ok("drop table a; drop table if exists a").await;
    let (status, text) = local.sql("drop table a").await;
    assert_eq!(
        (status.as_str(), &*text),
        ("Failed", "ODPS-0130131:[1,12] Table not found - table sandbox.a cannot be resolved")
    );
    assert_eq!(local.get("/api/projects/sandbox/tables/a").await.status, 404);
    let listed =
        local.get("/api/projects/sandbox/tables?curr_project=sandbox&expectmarker=true&maxitems=1").await.text();
    assert!(
        listed.contains("<Marker>1</Marker>")
            && listed.contains("<Name>b</Name>")
            && !listed.contains("<Name>c</Name>")
    );
}

#[tokio::test]
async fn failures_say_what_and_where() {
    let local = Local::new().await;
    local.ok("create table t (a bigint, b string)").await;
    for (query, text) in [
        ("select * from nope", "ODPS-0130131:[1,15] Table not found - table sandbox.nope cannot be resolved"),
        (
            "select a\nfrom t join\n  other.x on 1=1",
            "ODPS-0130131:[3,3] Table not found - table sandbox.other.x cannot be resolved",
        ),
        ("insert into nope values (1)", "ODPS-0130131:[1,13] Table not found - table sandbox.nope cannot be resolved"),
        ("select q from t", "ODPS-0130071:[1,1] Semantic analysis exception - column q cannot be resolved"),
        ("select t2.a from t", "ODPS-0130071:[1,1] Semantic analysis exception - column t2.a cannot be resolved"),
        ("selct 1", "ODPS-0130161:[1,1] Parse exception - invalid token 'selct', expect a statement"),
        ("select a from", "ODPS-0130161:[1,14] Parse exception - "),
        (
            "insert into t values (1)",
            "ODPS-0130071:[1,1] Semantic analysis exception - wrong columns count 1 in data source",
        ),
        (
            "insert into t values ('x', 'y')",
            "ODPS-0123031: Runtime exception - a value does not fit column a of type bigint",
        ),
        ("alter table t add partition (pt='1')", "ODPS-0130071:[1,1] Semantic analysis exception - invalid partition"),
    ] {
        let (status, result) = local.sql(query).await;
        assert_eq!(status, "Failed", "{query}");
        assert!(result.starts_with(text), "{query}: {result}");
    }
    assert!(local.rows("select * from t").await.is_empty());
}

#[tokio::test]
async fn partitions() {
    let local = Local::new().await;
    local.ok("create table p (id bigint, v string) partitioned by (pt string, n bigint)").await;
    local.ok("alter table p add if not exists partition (pt='a', n=1) partition (pt='a', n=2)").await;
    local.ok("alter table sandbox.p add if not exists partition (pt='a', n=1)").await;
    assert_eq!(local.sql("alter table p add partition (pt='a', n=1)").await.0, "Failed");
    local.ok("insert into p partition (pt='a', n=1) values (1, 'x')").await;
    local.ok("insert into table p partition (pt='b', n=3) (v, id) values ('y', 2)").await;
    local.ok("insert overwrite table p partition (pt, n) select id, v, concat(pt, '2'), n * 10 from p").await;
    assert_eq!(
        local.rows("select id, v, pt, n from p order by pt, n").await,
        [
            "\"1\",\"x\",\"a\",\"1\"",
            "\"1\",\"x\",\"a2\",\"10\"",
            "\"2\",\"y\",\"b\",\"3\"",
            "\"2\",\"y\",\"b2\",\"30\""
        ]
    );
    assert_eq!(local.rows("select count(*) from p where pt = 'a2' and n > 3").await, ["\"1\""]);
    local.ok("truncate table p partition (pt='a2', n=10)").await;
    local.ok("alter table p drop if exists partition (pt='b', n=3), partition (pt='zz', n=9)").await;
    assert_eq!(local.sql("alter table p drop partition (pt='b', n=3)").await.0, "Failed");
    assert_eq!(local.rows("select v from p order by v").await, ["\"x\"", "\"y\""]);
    let listed =
        local.get("/api/projects/sandbox/tables/p?partitions&expectmarker=true&partition=pt%3D'a'").await.text();
    assert_eq!(listed.matches("<Partition>").count(), 2, "{listed}");
    assert!(listed.contains("<Column Name=\"pt\" Value=\"a\"/><Column Name=\"n\" Value=\"1\"/>"), "{listed}");
    let one = local.get("/api/projects/sandbox/tables/p?partition=pt%3D'a'%2Cn%3D'1'").await;
    assert!(one.text().contains("\"partitionRecordNum\":1"), "{}", one.text());
    assert_eq!(local.get("/api/projects/sandbox/tables/p?partition=pt%3D'q'%2Cn%3D'1'").await.status, 404);
}

#[tokio::test]
async fn queries() {
    let local = Local::new().await;
    local
        .ok("create table t (k string, v bigint, d double, at datetime); create table u (k string, name string)")
        .await;
    local.ok("insert into t values ('a', 1, 0.5, '2024-01-02 03:04:05'), ('b', 2, 1.5, '2024-02-02 00:00:00'), ('a', 3, null, null), (null, 4, 2, null)").await;
    local.ok("insert into u values ('a', 'Anna'), ('c', 'Cem')").await;
    for (query, rows) in [
        ("select k, count(*) c, sum(v) from t group by k order by c desc, k limit 1", vec!["\"a\",\"2\",\"4\""]),
        ("select t.v, u.name from t join u on t.k = u.k order by t.v", vec!["\"1\",\"Anna\"", "\"3\",\"Anna\""]),
        (
            "select t.v, u.name from t left outer join u on t.k = u.k where u.name is null order by v",
            vec!["\"2\",\\N", "\"4\",\\N"],
        ),
        ("select u.k, t.v from t right join u on t.k = u.k where t.v is null", vec!["\"c\",\\N"]),
        ("select u.name from t, u where t.k = u.k and t.v = 1", vec!["\"Anna\""]),
        ("select v from t where k == \"b\"", vec!["\"2\""]),
        ("select v from t where k is null or k in ('b') order by v", vec!["\"2\"", "\"4\""]),
        ("select v from t where k like 'a%' or k is null order by v", vec!["\"1\"", "\"3\"", "\"4\""]),
        ("select v from t where not (k in ('a')) order by v", vec!["\"2\""]),
        ("select v from t where not (k like 'a%' or v = 4) and v < 1e1", vec!["\"2\""]),
        ("select v / 2, 7 / 2, v % 2 from t where v = 3", vec!["\"1.5\",\"3.5\",\"1\""]),
        (
            "select avg(v), min(d), max(d), count(d), count(distinct k) from t",
            vec!["\"2.5\",\"0.5\",\"2.0\",\"3\",\"2\""],
        ),
        ("select v from t where at > '2024-01-15' or at = '2024-01-02 03:04:05' order by v", vec!["\"1\"", "\"2\""]),
        (
            "select cast('12' as bigint), cast(v as string), cast(k as bigint) from t where v = 1",
            vec!["\"12\",\"1\",\\N"],
        ),
        (
            "select if(v > 2, 'big', 'small'), nvl(k, '?') from t where v >= 2 order by v",
            vec!["\"small\",\"b\"", "\"big\",\"a\"", "\"big\",\"?\""],
        ),
        ("select x.n from (select k, count(*) as n from t group by k) x where x.k = 'a'", vec!["\"2\""]),
        ("with s as (select v from t where v > 2) select max(v) from s", vec!["\"4\""]),
        ("select v from t where k in (select k from u) order by v", vec!["\"1\"", "\"3\""]),
        ("select 1 union all select 2", vec!["\"1\"", "\"2\""]),
        ("select * from u where name like 'A%'", vec!["\"a\",\"Anna\""]),
        (
            "select case when v < 2 then 'lo' else 'hi' end, upper(k) || '!' from t where v in (1, 2) order by v",
            vec!["\"lo\",\"A!\"", "\"hi\",\"B!\""],
        ),
        ("select k, v from t where k = 'a' and v between 2 and 3", vec!["\"a\",\"3\""]),
        ("select distinct k from t where k is not null order by k", vec!["\"a\"", "\"b\""]),
        ("select k, sum(v) s from t group by k having sum(v) > 3 order by s, k", vec!["\\N,\"4\"", "\"a\",\"4\""]),
        ("(select v from t where v = 1)", vec!["\"1\""]),
        ("select at from t where v = 1", vec!["\"2024-01-02 03:04:05\""]),
        ("set odps.sql.mapper.split.size=1; select max(v) from t", vec!["\"4\""]),
    ] {
        assert_eq!(local.rows(query).await, rows, "{query}");
    }
}

#[tokio::test]
async fn json_members_and_numbers_in_texts() {
    let local = Local::new().await;
    local.ok("create table j (value string)").await;
    local.ok(r#"insert into j values ('{"n": 7, "tag": {"desc": "d"}}'), ('{"n": 35}'), ('not json'), (null)"#).await;
    assert_eq!(
        local.rows("select count(*), sum(cast(get_json_object(value, '$.n') as bigint)) from j").await,
        ["\"4\",\"42\""]
    );
    assert_eq!(
        local.rows("select get_json_object(value, '$.tag.desc') from j where get_json_object(value, '$.n') = 7").await,
        ["\"d\""]
    );
    assert_eq!(local.rows("select sum(value) from j where value = '7'").await, ["\\N"]);
}

#[tokio::test]
async fn types_of_results_reach_the_instance_tunnel() {
    let local = Local::new().await;
    local
        .ok("create table t (a array<bigint>, d decimal(20,4), b binary, f float, da date, ts timestamp, s smallint)")
        .await;
    local.ok("select a, d, b, f, da, ts, s, count(*) n, sum(s) from t group by a, d, b, f, da, ts, s").await;
    let listing = local.get("/api/projects/sandbox/instances").await.text();
    let id = listing.rsplit("<Instance><Name>").next().unwrap().split('<').next().unwrap().to_owned();
    let session = local.post(&format!("/projects/sandbox/instances/{id}?downloads")).await.json();
    let types: Vec<_> = session["Schema"]["columns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| column["type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["array<bigint>", "decimal(20,4)", "binary", "float", "date", "timestamp", "smallint", "bigint", "bigint"]
    );
}

#[tokio::test]
async fn instances_can_be_terminated_and_are_not_begun_twice() {
    let local = Local::new().await;
    let body = "<Instance><Job><Guid>g1</Guid><Tasks><SQL><Name>T</Name><Query>show tables;</Query></SQL></Tasks></Job></Instance>";
    let submit = || local.try_send("POST", "/api/projects/sandbox/instances", Some(body.as_bytes()));
    let (first, second) = (submit().await.unwrap(), submit().await.unwrap());
    assert_eq!(first.headers["location"], second.headers["location"]);
    assert!(first.headers["location"].starts_with(&format!("{}/projects/sandbox/instances/", local.local.endpoint())));
    for (body, code) in [
        ("<Instance><Job><Tasks><SQL>", "MalformedXML"),
        ("<Instance/>", "MalformedXML"),
        ("<Instance><Job><Tasks><CUPID><Name>T</Name></CUPID></Tasks></Job></Instance>", "NotImplemented"),
    ] {
        let reply = local.try_send("POST", "/api/projects/sandbox/instances", Some(body.as_bytes())).await.unwrap();
        assert_eq!(reply.refusal().1, code, "{body}");
    }
    // A query that runs for long: every row of a table with itself, three times.
    local.ok("create table n (x bigint)").await;
    let values: Vec<String> = (0..300).map(|x| format!("({x})")).collect();
    local.ok(&format!("insert into n values {}", values.join(","))).await;
    let body = "<Instance><Job><Tasks><SQL><Name>T</Name><Query>select count(*) from n a join n b join n c;</Query></SQL></Tasks></Job></Instance>";
    let reply = local.try_send("POST", "/api/projects/sandbox/instances", Some(body.as_bytes())).await.unwrap();
    let target = format!("/api{}", reply.headers["location"].split("/api").nth(1).unwrap());
    assert!(local.get(&target).await.text().contains("Running"));
    let stop = b"<Instance><Status>Terminated</Status></Instance>";
    assert_eq!(local.put(&target, stop).await.status, 200);
    assert!(local.get(&format!("{target}?taskstatus")).await.text().contains("<Status>Cancelled</Status>"));
    assert_eq!(local.put(&target, stop).await.status, 409);
    assert_eq!(local.get("/api/projects/sandbox/instances/nope").await.status, 404);
}

#[tokio::test]
async fn long_and_deep_statements_end() {
    let local = Local::new().await;
    let chain = vec!["1 = 2"; 3_000].join(" or ");
    assert_eq!(local.rows(&format!("select 1 where {chain} or 1 = 1")).await, ["\"1\""]);
    let list: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    assert_eq!(local.rows(&format!("select 7 where 19999 in ({})", list.join(", "))).await, ["\"7\""]);
    let deep = format!("select {}1{}", "(".repeat(500), ")".repeat(500));
    let (status, text) = local.sql(&deep).await;
    assert_eq!((status.as_str(), text.contains("nested too deep")), ("Failed", true), "{text}");
}

#[tokio::test]
async fn metadata() {
    let local = Local::new().await;
    local.ok("create table t (a bigint not null comment 'x<y>]]>', b map<string,string>) comment 'c' partitioned by (pt string) lifecycle 9").await;
    let reply = local.get("/api/projects/sandbox/tables/T?curr_project=sandbox").await;
    let text = reply.text();
    let json = text.split("<Schema format=\"Json\"><![CDATA[").nth(1).unwrap().split("]]></Schema>").next().unwrap();
    let json: serde_json::Value = serde_json::from_str(&json.replace("]]]]><![CDATA[>", "]]>")).unwrap();
    assert_eq!(json["columns"][0]["comment"], "x<y>]]>");
    assert_eq!((json["columns"][0]["isNullable"].as_bool(), json["lifecycle"].as_i64()), (Some(false), Some(9)));
    assert_eq!(json["columns"][1]["type"], "map<string,string>");
    assert_eq!(json["partitionKeys"][0]["name"], "pt");
    let project = local.get("/api/projects/SANDBOX").await;
    assert!(project.headers.contains_key("x-odps-owner") && project.headers.contains_key("last-modified"));
    assert_eq!(local.get("/api/projects/other").await.refusal(), (404, "NoSuchProject".to_owned()));
    for target in
        ["/api/logview/host", "/api/tenants", "/api/projects/sandbox/schemas", "/api/projects/sandbox/schemas/default"]
    {
        let reply = local.get(target).await;
        assert_eq!(reply.status, 200, "{target}");
        assert!(reply.headers.contains_key("x-odps-request-id"));
    }
    local.ok("create schema s; create table s.t (q string)").await;
    assert_eq!(local.get("/api/projects/sandbox/schemas/s/tables/t").await.status, 200);
    assert_eq!(local.get("/api/projects/sandbox/tables/t?curr_schema=s").await.text().matches("\"q\"").count(), 1);
    assert!(local.rows("select q from sandbox.s.t").await.is_empty());
}
