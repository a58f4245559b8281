//! MaxCompute SQL to statements: a thin layer over the tokens and queries of `sqlparser`.
//!
//! The parser knows queries well and MaxCompute's DDL not at all, so statements are taken apart here and only queries and
//! expressions are left to it. Names are case-insensitive, so every word that may be one is made lower case first.

use gluesql_core::sqlparser::ast::{Expr, Query, Value as SqlValue};
use gluesql_core::sqlparser::dialect::Dialect;
use gluesql_core::sqlparser::keywords::Keyword;
use gluesql_core::sqlparser::parser::{Parser, ParserError};
use gluesql_core::sqlparser::tokenizer::{Location, Token, TokenWithLocation, Tokenizer, Word};

use super::SqlError;
use crate::tunnel::{Column, ColumnType};

/// A table's name as written: one to three parts, lower case, and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct TableName {
    pub(super) parts: Vec<String>,
    pub(super) at: Place,
}

/// Line and column of the script, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line, column: location.column }
    }
}

/// Partition keys with their values, as in `PARTITION (pt='1', type)`; no value means a dynamic level.
pub(super) type PartitionClause = Vec<(String, Option<String>)>;

/// One statement.
#[derive(Clone, Debug)]
pub(super) enum Statement {
    /// `SET name=value`, which changes nothing here.
    Set,
    CreateTable {
        name: TableName,
        if_not_exists: bool,
        columns: Vec<Column>,
        partition_keys: Vec<Column>,
        comment: String,
        lifecycle: Option<u32>,
        like: Option<TableName>,
        query: Option<Box<Query>>,
    },
    CreateSchema(TableName),
    DropTable {
        name: TableName,
        if_exists: bool,
    },
    Truncate {
        name: TableName,
        partitions: Vec<PartitionClause>,
    },
    AddPartition {
        name: TableName,
        if_not_exists: bool,
        partitions: Vec<PartitionClause>,
    },
    DropPartition {
        name: TableName,
        if_exists: bool,
        partitions: Vec<PartitionClause>,
    },
    AddColumns {
        name: TableName,
        columns: Vec<Column>,
    },
    SetLifecycle {
        name: TableName,
        days: u32,
    },
    SetComment {
        name: TableName,
        comment: String,
    },
    Insert {
        name: TableName,
        overwrite: bool,
        partition: PartitionClause,
        columns: Vec<String>,
        query: Box<Query>,
    },
    Query(Box<Query>),
    ShowTables {
        like: Option<String>,
    },
    ShowPartitions(TableName),
    ShowCreateTable(TableName),
    Describe(TableName),
}

/// The words of a script with their places, for errors about names inside queries.
#[derive(Clone, Debug)]
pub(super) struct Words(Vec<(String, Place)>);

impl Words {
    /// Where `parts` stand after a word that a table's name follows; the script's start when they do not.
    pub(super) fn place_of(&self, parts: &[String]) -> Place {
        let follows = |index: usize| {
            index.checked_sub(1).and_then(|before| self.0.get(before)).is_some_and(|(word, _)| {
                matches!(word.as_str(), "from" | "join" | "into" | "table" | "overwrite" | "," | "exists")
            })
        };
        let at = (0..self.0.len()).find(|index| {
            follows(*index)
                && parts.iter().enumerate().all(|(nth, part)| {
                    // A dot stands between two parts.
                    self.0.get(index + 2 * nth).is_some_and(|(word, _)| word == part)
                })
        });
        at.and_then(|index| self.0.get(index)).map_or(Place { line: 1, column: 1 }, |(_, place)| *place)
    }
}

/// Takes a script apart into statements.
pub(super) fn parse(script: &str) -> Result<(Vec<Statement>, Words), SqlError> {
    let tokens = Tokenizer::new(&MaxComputeDialect, script)
        .tokenize_with_location()
        .map_err(|error| SqlError::parse(error.location.into(), format!("invalid token: {}", error.message)))?;
    let tokens: Vec<TokenWithLocation> = tokens.into_iter().map(normalise).collect();
    let words = Words(
        tokens
            .iter()
            .filter_map(|token| match &token.token {
                Token::Word(word) => Some((word.value.clone(), token.location.into())),
                Token::Comma => Some((",".to_owned(), token.location.into())),
                Token::Period => Some((".".to_owned(), token.location.into())),
                _ => None,
            })
            .collect(),
    );
    let parser = Parser::new(&MaxComputeDialect).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens);
    let last_line = script.rsplit('\n').next().unwrap_or_default();
    let end = Place { line: script.matches('\n').count() as u64 + 1, column: last_line.chars().count() as u64 + 1 };
    let mut statements = Statements { parser, end };
    let mut out = Vec::new();
    loop {
        while statements.parser.consume_token(&Token::SemiColon) {}
        if statements.parser.peek_token().token == Token::EOF {
            return Ok((out, words));
        }
        out.push(statements.statement()?);
        let next = statements.parser.peek_token();
        if !matches!(next.token, Token::SemiColon | Token::EOF) {
            return Err(statements.unexpected("';'"));
        }
    }
}

/// Names in lower case, `"text"` as text, `==` as `=`.
fn normalise(token: TokenWithLocation) -> TokenWithLocation {
    let TokenWithLocation { token, location } = token;
    let token = match token {
        Token::Word(word) => Token::Word(Word { value: word.value.to_lowercase(), ..word }),
        Token::DoubleQuotedString(text) => Token::SingleQuotedString(text),
        Token::DoubleEq => Token::Eq,
        other => other,
    };
    TokenWithLocation { token, location }
}

struct Statements<'a> {
    parser: Parser<'a>,
    /// Behind the last character.
    end: Place,
}

impl Statements<'_> {
    fn statement(&mut self) -> Result<Statement, SqlError> {
        let first = self.parser.peek_token();
        let Token::Word(word) = &first.token else {
            return if first.token == Token::LParen {
                self.query().map(Statement::Query)
            } else {
                Err(self.unexpected("a statement"))
            };
        };
        match word.value.as_str() {
            "set" => {
                while !matches!(self.parser.peek_token().token, Token::SemiColon | Token::EOF) {
                    self.parser.next_token();
                }
                Ok(Statement::Set)
            }
            "select" | "with" | "values" => self.query().map(Statement::Query),
            "insert" => self.insert(),
            "create" => self.create(),
            "drop" => self.drop(),
            "truncate" => {
                self.words(&["truncate", "table"])?;
                Ok(Statement::Truncate { name: self.table_name()?, partitions: self.partitions()? })
            }
            "alter" => self.alter(),
            "show" => self.show(),
            "desc" | "describe" => {
                self.parser.next_token();
                let _ = self.word("extended");
                let name = self.table_name()?;
                let _ = self.partitions()?;
                Ok(Statement::Describe(name))
            }
            _ => Err(self.unexpected("a statement")),
        }
    }

    fn query(&mut self) -> Result<Box<Query>, SqlError> {
        let parsed = self.parser.parse_query();
        parsed.map_err(|error| self.parser_error(&error))
    }

    fn create(&mut self) -> Result<Statement, SqlError> {
        self.words(&["create"])?;
        if self.word("schema") {
            self.if_not_exists()?;
            return Ok(Statement::CreateSchema(self.table_name()?));
        }
        let _ = self.word("external") || self.word("temporary");
        self.words(&["table"])?;
        let if_not_exists = self.if_not_exists()?;
        let name = self.table_name()?;
        let mut table = NewTable::default();
        if self.word("like") {
            table.like = Some(self.table_name()?);
        } else if self.parser.consume_token(&Token::LParen) {
            table.columns = self.columns()?;
        }
        self.table_options(&mut table)?;
        if self.word("as") {
            table.query = Some(self.query()?);
        } else if table.columns.is_empty() && table.like.is_none() {
            return Err(self.unexpected("'('"));
        }
        Ok(Statement::CreateTable {
            name,
            if_not_exists,
            columns: table.columns,
            partition_keys: table.partition_keys,
            comment: table.comment,
            lifecycle: table.lifecycle,
            like: table.like,
            query: table.query,
        })
    }

    fn table_options(&mut self, table: &mut NewTable) -> Result<(), SqlError> {
        loop {
            if self.word("comment") {
                table.comment = self.text()?;
            } else if self.word("lifecycle") {
                table.lifecycle = Some(self.number()?);
            } else if self.word("partitioned") {
                self.words(&["by"])?;
                self.expect(&Token::LParen, "'('")?;
                table.partition_keys = self.columns()?;
            } else if self.word("stored") {
                self.words(&["as"])?;
                self.name()?;
            } else if self.word("tblproperties") {
                self.skip_parentheses()?;
            } else {
                return Ok(());
            }
        }
    }

    /// Columns up to the closing parenthesis.
    fn columns(&mut self) -> Result<Vec<Column>, SqlError> {
        let mut columns = Vec::new();
        loop {
            let name = self.name()?;
            let mut column = Column::new(name, self.column_type()?);
            loop {
                if self.word("not") {
                    self.words(&["null"])?;
                    column.nullable = false;
                } else if self.word("null") {
                    column.nullable = true;
                } else if self.word("comment") {
                    column.comment = self.text()?;
                } else if self.word("default") {
                    let parsed = self.parser.parse_expr();
                    parsed.map_err(|error| self.parser_error(&error))?;
                } else {
                    break;
                }
            }
            columns.push(column);
            if self.parser.consume_token(&Token::RParen) {
                return Ok(columns);
            }
            self.expect(&Token::Comma, "',' or ')'")?;
        }
    }

    /// The tokens of a type up to where its brackets close, read by the one parser of type texts.
    fn column_type(&mut self) -> Result<ColumnType, SqlError> {
        let start = self.parser.peek_token();
        let mut text = String::new();
        let mut depth = 0_usize;
        loop {
            let next = self.parser.peek_token();
            match &next.token {
                Token::Lt | Token::LParen => depth += 1,
                Token::Gt | Token::RParen if depth > 0 => depth -= 1,
                // `>>` closes two levels at once.
                Token::ShiftRight if depth > 1 => depth -= 2,
                Token::Word(_) | Token::Number(..) | Token::Comma | Token::Colon if depth > 0 => {}
                Token::Word(_) if text.is_empty() => {}
                _ => break,
            }
            match &next.token {
                Token::Word(Word { quote_style: Some(_), value, .. }) => text.push_str(&format!("`{value}`")),
                token => text.push_str(&token.to_string()),
            }
            self.parser.next_token();
            let closes = matches!(next.token, Token::Gt | Token::RParen | Token::ShiftRight);
            let opens_next = matches!(self.parser.peek_token().token, Token::Lt | Token::LParen);
            if depth == 0 && (closes || !opens_next) {
                break;
            }
        }
        ColumnType::parse(&text).map_err(|error| SqlError::parse(self.place(&start), error.to_string()))
    }

    fn drop(&mut self) -> Result<Statement, SqlError> {
        self.words(&["drop", "table"])?;
        let if_exists = self.if_exists()?;
        let name = self.table_name()?;
        let _ = self.word("purge");
        Ok(Statement::DropTable { name, if_exists })
    }

    fn alter(&mut self) -> Result<Statement, SqlError> {
        self.words(&["alter", "table"])?;
        let name = self.table_name()?;
        if self.word("add") {
            if self.word("columns") || self.word("column") {
                self.expect(&Token::LParen, "'('")?;
                return Ok(Statement::AddColumns { name, columns: self.columns()? });
            }
            let if_not_exists = self.if_not_exists()?;
            let partitions = self.some_partitions()?;
            return Ok(Statement::AddPartition { name, if_not_exists, partitions });
        }
        if self.word("drop") {
            let if_exists = self.if_exists()?;
            let partitions = self.some_partitions()?;
            let _ = self.word("purge");
            return Ok(Statement::DropPartition { name, if_exists, partitions });
        }
        self.words(&["set"])?;
        if self.word("lifecycle") {
            return Ok(Statement::SetLifecycle { name, days: self.number()? });
        }
        self.words(&["comment"])?;
        Ok(Statement::SetComment { name, comment: self.text()? })
    }

    fn insert(&mut self) -> Result<Statement, SqlError> {
        self.words(&["insert"])?;
        let overwrite = self.word("overwrite");
        if !overwrite {
            self.words(&["into"])?;
        }
        let _ = self.word("table");
        let name = self.table_name()?;
        let mut columns = self.insert_columns()?;
        let partition = self.partitions()?.into_iter().next().unwrap_or_default();
        if columns.is_empty() {
            columns = self.insert_columns()?;
        }
        Ok(Statement::Insert { name, overwrite, partition, columns, query: self.query()? })
    }

    /// `(a, b)` in front of the query; a parenthesis that begins the query stays.
    fn insert_columns(&mut self) -> Result<Vec<String>, SqlError> {
        let begins_query = matches!(
            &self.parser.peek_nth_token(1).token,
            Token::Word(word) if matches!(word.keyword, Keyword::SELECT | Keyword::WITH | Keyword::VALUES)
        );
        if begins_query || !self.parser.consume_token(&Token::LParen) {
            return Ok(Vec::new());
        }
        let mut columns = Vec::new();
        loop {
            columns.push(self.name()?);
            if self.parser.consume_token(&Token::RParen) {
                return Ok(columns);
            }
            self.expect(&Token::Comma, "',' or ')'")?;
        }
    }

    fn show(&mut self) -> Result<Statement, SqlError> {
        self.words(&["show"])?;
        if self.word("tables") {
            if self.word("in") || self.word("from") {
                self.table_name()?;
            }
            let like = if self.word("like") { Some(self.text()?) } else { None };
            return Ok(Statement::ShowTables { like });
        }
        if self.word("partitions") {
            return Ok(Statement::ShowPartitions(self.table_name()?));
        }
        self.words(&["create", "table"])?;
        Ok(Statement::ShowCreateTable(self.table_name()?))
    }

    fn some_partitions(&mut self) -> Result<Vec<PartitionClause>, SqlError> {
        let partitions = self.partitions()?;
        if partitions.is_empty() { Err(self.unexpected("PARTITION")) } else { Ok(partitions) }
    }

    /// Any number of `PARTITION (…)`, with or without commas between.
    fn partitions(&mut self) -> Result<Vec<PartitionClause>, SqlError> {
        let mut partitions = Vec::new();
        loop {
            let comma = self.parser.consume_token(&Token::Comma);
            if !self.word("partition") {
                return if comma { Err(self.unexpected("PARTITION")) } else { Ok(partitions) };
            }
            self.expect(&Token::LParen, "'('")?;
            let mut clause = PartitionClause::new();
            loop {
                let name = self.name()?;
                let value = if self.parser.consume_token(&Token::Eq) { Some(self.literal()?) } else { None };
                clause.push((name, value));
                if self.parser.consume_token(&Token::RParen) {
                    break;
                }
                self.expect(&Token::Comma, "',' or ')'")?;
            }
            partitions.push(clause);
        }
    }

    fn table_name(&mut self) -> Result<TableName, SqlError> {
        let at = self.parser.peek_token().location.into();
        let mut parts = vec![self.name()?];
        while self.parser.consume_token(&Token::Period) {
            parts.push(self.name()?);
        }
        Ok(TableName { parts, at })
    }

    fn name(&mut self) -> Result<String, SqlError> {
        match self.parser.peek_token().token {
            Token::Word(word) => {
                self.parser.next_token();
                Ok(word.value)
            }
            _ => Err(self.unexpected("a name")),
        }
    }

    fn text(&mut self) -> Result<String, SqlError> {
        match self.parser.peek_token().token {
            Token::SingleQuotedString(text) => {
                self.parser.next_token();
                Ok(text)
            }
            _ => Err(self.unexpected("a quoted text")),
        }
    }

    /// A partition's value: text, number or a bare word, and a constant expression as the parser reads it.
    fn literal(&mut self) -> Result<String, SqlError> {
        if let Token::Number(digits, _) = self.parser.peek_token().token {
            // As written: leading zeros belong to the value.
            self.parser.next_token();
            return Ok(digits);
        }
        let parsed = self.parser.parse_expr();
        match parsed.map_err(|error| self.parser_error(&error))? {
            Expr::Value(SqlValue::SingleQuotedString(text)) => Ok(text),
            Expr::Identifier(word) => Ok(word.value),
            other => Ok(other.to_string()),
        }
    }

    fn number(&mut self) -> Result<u32, SqlError> {
        let number = match self.parser.peek_token().token {
            Token::Number(text, _) => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) => {
                self.parser.next_token();
                Ok(number)
            }
            None => Err(self.unexpected("a number")),
        }
    }

    fn skip_parentheses(&mut self) -> Result<(), SqlError> {
        self.expect(&Token::LParen, "'('")?;
        let mut depth = 1_usize;
        while depth > 0 {
            match self.parser.next_token().token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                Token::EOF => return Err(self.unexpected("')'")),
                _ => {}
            }
        }
        Ok(())
    }

    fn if_exists(&mut self) -> Result<bool, SqlError> {
        let there = self.word("if");
        if there {
            self.words(&["exists"])?;
        }
        Ok(there)
    }

    fn if_not_exists(&mut self) -> Result<bool, SqlError> {
        let there = self.word("if");
        if there {
            self.words(&["not", "exists"])?;
        }
        Ok(there)
    }

    /// Takes an unquoted word if it comes next.
    fn word(&mut self, wanted: &str) -> bool {
        let there = matches!(
            &self.parser.peek_token().token,
            Token::Word(word) if word.quote_style.is_none() && word.value == wanted
        );
        if there {
            self.parser.next_token();
        }
        there
    }

    fn words(&mut self, wanted: &[&str]) -> Result<(), SqlError> {
        for word in wanted {
            if !self.word(word) {
                return Err(self.unexpected(&word.to_uppercase()));
            }
        }
        Ok(())
    }

    fn expect(&mut self, token: &Token, wanted: &str) -> Result<(), SqlError> {
        if self.parser.consume_token(token) { Ok(()) } else { Err(self.unexpected(wanted)) }
    }

    fn unexpected(&self, wanted: &str) -> SqlError {
        let found = self.parser.peek_token();
        let shown = match &found.token {
            Token::EOF => "the end".to_owned(),
            token => format!("'{token}'"),
        };
        SqlError::parse(self.place(&found), format!("invalid token {shown}, expect {wanted}"))
    }

    fn place(&self, token: &TokenWithLocation) -> Place {
        if token.token == Token::EOF { self.end } else { token.location.into() }
    }

    fn parser_error(&self, error: &ParserError) -> SqlError {
        let text = match error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "nested too deep".to_owned(),
        };
        SqlError::parse(self.place(&self.parser.peek_token()), text)
    }
}

#[derive(Default)]
struct NewTable {
    columns: Vec<Column>,
    partition_keys: Vec<Column>,
    comment: String,
    lifecycle: Option<u32>,
    like: Option<TableName>,
    query: Option<Box<Query>>,
}

/// Backticks quote names, both other quotes make texts, and backslashes escape inside them.
#[derive(Debug)]
struct MaxComputeDialect;

impl Dialect for MaxComputeDialect {
    fn is_delimited_identifier_start(&self, character: char) -> bool {
        character == '`'
    }

    fn is_identifier_start(&self, character: char) -> bool {
        character.is_alphabetic() || character == '_' || character == '@'
    }

    fn is_identifier_part(&self, character: char) -> bool {
        character.is_alphanumeric() || character == '_' || character == '$'
    }

    fn supports_string_literal_backslash_escape(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_limit_comma(&self) -> bool {
        true
    }
}

/// Levels of nesting in an expression.
const RECURSION_MAX: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn one(script: &str) -> Statement {
        let mut statements = parse(script).unwrap().0;
        assert_eq!(statements.len(), 1, "{statements:?}");
        statements.remove(0)
    }

    #[test]
    fn the_walkthroughs_table() {
        let script = "CREATE TABLE testkafka (\n\n`key` string,\n`value` string,\n`partition1` string,\n`timestamp1` string,\n`offset` string,\n`t123` string,\n`event_id` string,\n`tag` string\n) ;\n";
        let Statement::CreateTable { name, columns, partition_keys, .. } = one(script) else { panic!() };
        assert_eq!(name.parts, ["testkafka"]);
        let names: Vec<_> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["key", "value", "partition1", "timestamp1", "offset", "t123", "event_id", "tag"]);
        assert!(partition_keys.is_empty());
    }

    #[test]
    fn every_clause_of_create_table() {
        let script = "create table if not exists P.`T` (key string comment 'k\\'s', Value bigint not null, offset decimal(10, 2),
            m map<string,array<bigint>> , s struct<a:bigint,b:array<array<string>>>, v varchar(20))
            comment \"it's\" partitioned by (pt string, type bigint comment 'x') lifecycle 30;";
        let Statement::CreateTable { name, if_not_exists, columns, partition_keys, comment, lifecycle, .. } =
            one(script)
        else {
            panic!()
        };
        assert!(if_not_exists);
        assert_eq!(name.parts, ["p", "t"]);
        let types: Vec<_> = columns.iter().map(|column| column.type_.to_string()).collect();
        assert_eq!(
            types,
            [
                "string",
                "bigint",
                "decimal(10,2)",
                "map<string,array<bigint>>",
                "struct<a:bigint,b:array<array<string>>>",
                "varchar(20)"
            ]
        );
        assert!(columns[0].nullable && !columns[1].nullable);
        assert_eq!(columns[0].comment, "k's");
        assert_eq!(comment, "it's");
        assert_eq!(partition_keys.len(), 2);
        assert_eq!(lifecycle, Some(30));
    }

    #[test]
    fn partitions_of_every_spelling() {
        let script =
            "ALTER TABLE p.t ADD IF NOT EXISTS PARTITION (pt='20150101', type=1) partition(`pt`=\"2\",type='b');";
        let Statement::AddPartition { if_not_exists, partitions, .. } = one(script) else { panic!() };
        assert!(if_not_exists);
        assert_eq!(
            partitions,
            [
                vec![("pt".to_owned(), Some("20150101".to_owned())), ("type".to_owned(), Some("1".to_owned()))],
                vec![("pt".to_owned(), Some("2".to_owned())), ("type".to_owned(), Some("b".to_owned()))],
            ]
        );
        assert!(matches!(one("truncate table t"), Statement::Truncate { partitions, .. } if partitions.is_empty()));
    }

    #[test]
    fn column_names_that_are_keywords() {
        for script in [
            "select key, value, offset, timestamp1, t.offset from t where offset > 1 and `value` = 'x' group by offset order by offset, key limit 3",
            "select count(*), max(offset), sum(value) from t",
            "select offset from t",
            "select `offset`, `key` from testkafka t1 order by `offset` desc",
        ] {
            assert!(matches!(one(script), Statement::Query(_)), "{script}");
        }
    }

    #[test]
    fn scripts_and_errors() {
        let (statements, words) = parse("set a.b=c;\nselect * from testkafka;;").unwrap();
        assert_eq!(statements.len(), 2);
        assert_eq!(words.place_of(&["testkafka".to_owned()]), Place { line: 2, column: 15 });
        for script in [
            "selec 1",
            "create table t",
            "create table t (a blob)",
            "insert t values (1)",
            "drop view v",
            "select 'a",
            "alter table t add partition",
        ] {
            let error = parse(script).unwrap_err().to_string();
            assert!(error.starts_with("ODPS-0130161:[1,"), "{script}: {error}");
        }
    }
}
