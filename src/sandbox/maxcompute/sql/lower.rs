//! From MaxCompute's SELECT to one the engine runs the same way.
//!
//! Tables get names of their own per use, `*` is spelled out (partition keys last), casts and JSON functions over one table
//! become extra columns of its scan, texts compared with numbers are cast, dates written as text become moments. The
//! query's output columns, with their names and as far as known their types, come out beside it.

use std::collections::BTreeMap;

use gluesql_core::sqlparser::ast::{
    BinaryOperator, CastKind, DataType as SqlType, Expr, FunctionArg, FunctionArgExpr, FunctionArguments, GroupByExpr,
    Ident, Join, JoinConstraint, JoinOperator, ObjectName, Offset, OrderByExpr, Query, Select, SelectItem, SetExpr,
    TableAlias, TableFactor, TableWithJoins, TimezoneInfo, UnaryOperator, Value as SqlValue,
};

use super::native::{Native, instant_of, parse_path};
use super::parse::{TableName, Words};
use super::scan::ScanPlan;
use super::{SqlContext, SqlError};
use crate::tunnel::{ColumnType, DecimalShape, Value};

/// A column that a query gives.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OutputColumn {
    pub(super) name: String,
    /// `None` when only the values can tell.
    pub(super) type_: Option<ColumnType>,
}

/// The state of lowering one query with everything inside it.
pub(super) struct Lowering<'a> {
    context: &'a SqlContext,
    words: &'a Words,
    scans: Vec<ScanPlan>,
    /// `WITH` queries by name.
    named: BTreeMap<String, Query>,
    derived: usize,
    /// How many NOTs are around what is lowered.
    negations: u32,
}

/// What the names of one SELECT may mean.
struct Scope<'a> {
    sources: Vec<Source>,
    /// Output names that ORDER BY and HAVING may use.
    labels: Vec<OutputColumn>,
    outer: Option<&'a Self>,
}

struct Source {
    alias: String,
    kind: SourceKind,
}

enum SourceKind {
    /// The place of the scan in [`Lowering::scans`].
    Scan(usize),
    Derived(Vec<OutputColumn>),
}

/// What a name stands for.
enum Meaning {
    Column { scan: usize, index: usize, type_: ColumnType },
    Output(Option<ColumnType>),
}

impl<'a> Lowering<'a> {
    pub(super) const fn new(context: &'a SqlContext, words: &'a Words) -> Self {
        Self { context, words, scans: Vec::new(), named: BTreeMap::new(), derived: 0, negations: 0 }
    }

    /// The tables that the lowered query reads.
    pub(super) fn into_scans(self) -> Vec<ScanPlan> {
        self.scans
    }

    /// Lowers a whole query.
    pub(super) fn query(&mut self, query: &mut Query) -> Result<Vec<OutputColumn>, SqlError> {
        self.query_in(query, None)
    }

    fn query_in(&mut self, query: &mut Query, outer: Option<&Scope<'_>>) -> Result<Vec<OutputColumn>, SqlError> {
        if let Some(with) = query.with.take() {
            for table in with.cte_tables {
                self.named.insert(table.alias.name.value.clone(), *table.query);
            }
        }
        if query.limit.is_none()
            && let SetExpr::Query(inner) = &mut *query.body
            && query.order_by.is_none()
        {
            // Parentheses around the whole query.
            *query = std::mem::replace(&mut **inner, empty_query());
            return self.query_in(query, outer);
        }
        match &mut *query.body {
            SetExpr::Select(select) => {
                let scope = self.select(select, outer)?;
                if let Some(order_by) = &mut query.order_by {
                    for mut order in std::mem::take(&mut order_by.exprs) {
                        self.expr(&mut order.expr, &scope)?;
                        // NULL is the smallest value here and the largest one there.
                        let there = Expr::IsNotNull(Box::new(order.expr.clone()));
                        order_by.exprs.push(OrderByExpr { expr: there, ..order.clone() });
                        order_by.exprs.push(order);
                    }
                }
                if let Some(Offset { value, .. }) = &mut query.offset {
                    self.expr(value, &scope)?;
                }
                Ok(scope.labels)
            }
            SetExpr::Values(values) => {
                let scope = Scope { sources: Vec::new(), labels: Vec::new(), outer };
                let mut columns = Vec::new();
                for row in &mut values.rows {
                    for (index, expr) in row.iter_mut().enumerate() {
                        let type_ = self.expr(expr, &scope)?;
                        if columns.len() == index {
                            columns.push(OutputColumn { name: format!("_c{index}"), type_ });
                        }
                    }
                }
                Ok(columns)
            }
            other => Err(SqlError::semantic(format!("the local MaxCompute does not run this form of query: {other}"))),
        }
    }

    fn select<'s>(&mut self, select: &mut Select, outer: Option<&'s Scope<'s>>) -> Result<Scope<'s>, SqlError> {
        let mut scope = Scope { sources: self.sources(select, outer)?, labels: Vec::new(), outer };
        select.projection = self.spell_out(std::mem::take(&mut select.projection), &scope)?;
        let mut labels = Vec::new();
        for (index, item) in select.projection.iter_mut().enumerate() {
            let (mut expr, name) = match item {
                SelectItem::ExprWithAlias { expr, alias } => (expr.clone(), alias.value.clone()),
                SelectItem::UnnamedExpr(expr) => (expr.clone(), label_of(expr, index)),
                SelectItem::QualifiedWildcard(..) | SelectItem::Wildcard(_) => continue,
            };
            let type_ = self.expr(&mut expr, &scope)?;
            labels.push(OutputColumn { name: name.clone(), type_ });
            *item = SelectItem::ExprWithAlias { expr, alias: Ident::new(name) };
        }
        if let Some(selection) = &mut select.selection {
            self.expr(selection, &scope)?;
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            for expr in exprs {
                self.expr(expr, &scope)?;
            }
        }
        scope.labels = labels;
        if let Some(having) = &mut select.having {
            self.expr(having, &scope)?;
        }
        // They steer where rows go in a cluster, which there is none of.
        select.cluster_by.clear();
        select.distribute_by.clear();
        select.sort_by.clear();
        if !select.lateral_views.is_empty() {
            return Err(SqlError::semantic("the local MaxCompute has no LATERAL VIEW"));
        }
        Ok(scope)
    }

    /// Turns comma lists and right joins into the joins the engine has, and finds every table.
    fn sources(&mut self, select: &mut Select, outer: Option<&Scope<'_>>) -> Result<Vec<Source>, SqlError> {
        let mut from = std::mem::take(&mut select.from).into_iter();
        let Some(mut first) = from.next() else { return Ok(Vec::new()) };
        for TableWithJoins { relation, joins } in from {
            first.joins.push(Join {
                relation,
                global: false,
                join_operator: JoinOperator::Inner(JoinConstraint::None),
            });
            first.joins.extend(joins);
        }
        if let [Join { relation, join_operator: join_operator @ JoinOperator::RightOuter(_), .. }] =
            first.joins.as_mut_slice()
        {
            std::mem::swap(&mut first.relation, relation);
            if let JoinOperator::RightOuter(constraint) = join_operator {
                *join_operator = JoinOperator::LeftOuter(std::mem::replace(constraint, JoinConstraint::None));
            }
        }
        let mut scope = Scope { sources: vec![self.factor(&mut first.relation, outer)?], labels: Vec::new(), outer };
        for join in &mut first.joins {
            let source = self.factor(&mut join.relation, outer)?;
            scope.sources.push(source);
            if matches!(join.join_operator, JoinOperator::CrossJoin) {
                join.join_operator = JoinOperator::Inner(JoinConstraint::None);
            }
            let (JoinOperator::Inner(constraint) | JoinOperator::LeftOuter(constraint)) = &mut join.join_operator
            else {
                return Err(SqlError::semantic(format!("the local MaxCompute does not run this join: {join}")));
            };
            if let JoinConstraint::Using(columns) = constraint {
                *constraint = JoinConstraint::On(using(&scope.sources, columns));
            }
            if let JoinConstraint::On(on) = constraint {
                self.expr(on, &scope)?;
            }
        }
        select.from = vec![first];
        Ok(scope.sources)
    }

    fn factor(&mut self, factor: &mut TableFactor, outer: Option<&Scope<'_>>) -> Result<Source, SqlError> {
        match factor {
            TableFactor::Table { name, alias, args: None, .. } => {
                let parts: Vec<String> = name.0.iter().map(|part| part.value.clone()).collect();
                let bare = parts.last().cloned().unwrap_or_default();
                let shown = alias.as_ref().map_or(bare, |alias| alias.name.value.clone());
                if let [part] = parts.as_slice()
                    && let Some(query) = self.named.get(part)
                {
                    *factor = TableFactor::Derived {
                        lateral: false,
                        subquery: Box::new(query.clone()),
                        alias: Some(TableAlias { name: Ident::new(shown), columns: Vec::new() }),
                    };
                    return self.factor(factor, outer);
                }
                let at = self.words.place_of(&parts);
                let table = self.context.table(&TableName { parts, at })?;
                let scan = self.scans.len();
                let scan_name = format!("scan{scan}");
                self.scans.push(ScanPlan::new(scan_name.clone(), table));
                *name = ObjectName(vec![Ident::new(scan_name)]);
                *alias = Some(TableAlias { name: Ident::new(shown.clone()), columns: Vec::new() });
                Ok(Source { alias: shown, kind: SourceKind::Scan(scan) })
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let columns = self.query_in(subquery, outer)?;
                let alias = alias.get_or_insert_with(|| {
                    self.derived += 1;
                    TableAlias { name: Ident::new(format!("__derived{}", self.derived)), columns: Vec::new() }
                });
                let mut columns = columns;
                for (column, name) in columns.iter_mut().zip(&alias.columns) {
                    column.name.clone_from(&name.value);
                }
                Ok(Source { alias: alias.name.value.clone(), kind: SourceKind::Derived(columns) })
            }
            other => Err(SqlError::semantic(format!("the local MaxCompute cannot read from this: {other}"))),
        }
    }

    /// Replaces `*` and `t.*` by the columns they mean.
    fn spell_out(&self, items: Vec<SelectItem>, scope: &Scope<'_>) -> Result<Vec<SelectItem>, SqlError> {
        let mut out = Vec::new();
        for item in items {
            let wanted = match &item {
                SelectItem::Wildcard(_) => None,
                SelectItem::QualifiedWildcard(name, _) => name.0.last().map(|part| part.value.clone()),
                _ => {
                    out.push(item);
                    continue;
                }
            };
            let before = out.len();
            for source in
                scope.sources.iter().filter(|source| wanted.as_ref().is_none_or(|wanted| *wanted == source.alias))
            {
                let names = self.names_of(source);
                out.extend(names.into_iter().map(|name| {
                    SelectItem::UnnamedExpr(Expr::CompoundIdentifier(vec![
                        Ident::new(source.alias.as_str()),
                        Ident::new(name),
                    ]))
                }));
            }
            if out.len() == before {
                return Err(SqlError::semantic(format!("'{item}' names no columns")));
            }
        }
        Ok(out)
    }

    fn names_of(&self, source: &Source) -> Vec<String> {
        match &source.kind {
            SourceKind::Scan(scan) => self
                .scans
                .get(*scan)
                .map(|scan| scan.columns().map(|(name, _)| name.to_owned()).collect())
                .unwrap_or_default(),
            SourceKind::Derived(columns) => columns.iter().map(|column| column.name.clone()).collect(),
        }
    }

    /// What a name means, looking outwards.
    fn resolve(&self, qualifier: Option<&str>, name: &str, scope: &Scope<'_>) -> Option<Meaning> {
        for source in scope.sources.iter().filter(|source| qualifier.is_none_or(|qualifier| qualifier == source.alias))
        {
            match &source.kind {
                SourceKind::Scan(scan) => {
                    let plan = self.scans.get(*scan)?;
                    let found = plan.columns().enumerate().find(|(_, (column, _))| column.eq_ignore_ascii_case(name));
                    if let Some((index, (_, type_))) = found {
                        return Some(Meaning::Column { scan: *scan, index, type_: type_.clone() });
                    }
                }
                SourceKind::Derived(columns) => {
                    if let Some(column) = columns.iter().find(|column| column.name == name) {
                        return Some(Meaning::Output(column.type_.clone()));
                    }
                }
            }
        }
        if qualifier.is_none()
            && let Some(label) = scope.labels.iter().find(|label| label.name == name)
        {
            return Some(Meaning::Output(label.type_.clone()));
        }
        scope.outer.and_then(|outer| self.resolve(qualifier, name, outer))
    }

    fn resolve_expr(&self, expr: &Expr, scope: &Scope<'_>) -> Option<Meaning> {
        match expr {
            Expr::Identifier(name) => self.resolve(None, &name.value, scope),
            Expr::CompoundIdentifier(parts) => match parts.as_slice() {
                [.., qualifier, name] => self.resolve(Some(&qualifier.value), &name.value, scope),
                _ => None,
            },
            _ => None,
        }
    }

    /// Lowers an expression in place and tells its type, where that is known.
    fn expr(&mut self, expr: &mut Expr, scope: &Scope<'_>) -> Result<Option<ColumnType>, SqlError> {
        self.prepare(expr, scope)?;
        if let Some((scan, native)) = self.native(expr, scope)
            && !native.is_plain()
        {
            return Ok(Some(self.hoist(expr, scan, native, scope)));
        }
        let type_ = self.type_of(expr, scope);
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => self.name(expr, scope)?,
            Expr::Cast { expr: inner, data_type, kind, .. } => {
                self.expr(inner, scope)?;
                *kind = CastKind::Cast;
                let to = column_type(data_type)?;
                *data_type = engine_cast(&to, data_type)?;
            }
            Expr::Subquery(query) => {
                self.query_in(query, Some(scope))?;
            }
            Expr::Exists { subquery, .. } => {
                self.query_in(subquery, Some(scope))?;
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expr(expr, scope)?;
                self.query_in(subquery, Some(scope))?;
            }
            other => {
                let is_not = matches!(other, Expr::UnaryOp { op: UnaryOperator::Not, .. });
                self.negations += u32::from(is_not);
                for child in children(other) {
                    self.expr(child, scope)?;
                }
                self.negations -= u32::from(is_not);
                if self.negations == 0 {
                    settle_or(other);
                }
                pass_null(other);
            }
        }
        Ok(type_)
    }

    /// Checks a name and notes that its column is read.
    fn name(&mut self, expr: &mut Expr, scope: &Scope<'_>) -> Result<(), SqlError> {
        match self.resolve_expr(expr, scope) {
            Some(Meaning::Column { scan, index, .. }) => {
                if let Some(slot) = self.scans.get_mut(scan).and_then(|scan| scan.wanted.get_mut(index)) {
                    *slot = true;
                }
            }
            Some(Meaning::Output(_)) => {}
            None => {
                let parts = match expr {
                    Expr::CompoundIdentifier(parts) => parts.iter().map(|part| part.value.clone()).collect(),
                    other => vec![other.to_string()],
                };
                return Err(SqlError::semantic(format!("column {} cannot be resolved", parts.join("."))));
            }
        }
        if let Expr::CompoundIdentifier(parts) = expr
            && parts.len() > 2
        {
            // The engine knows aliases only: project and schema in front go.
            parts.drain(..parts.len() - 2);
        }
        Ok(())
    }

    /// Replaces an expression by an extra column of its scan.
    fn hoist(&mut self, expr: &mut Expr, scan: usize, native: Native, scope: &Scope<'_>) -> ColumnType {
        let type_ = native.type_();
        let alias = alias_of(scan, scope).unwrap_or_default();
        if let Some(plan) = self.scans.get_mut(scan) {
            let known = plan.natives.iter().position(|known| *known == native);
            let index = known.unwrap_or_else(|| {
                plan.natives.push(native);
                plan.natives.len() - 1
            });
            *expr = Expr::CompoundIdentifier(vec![Ident::new(alias), Ident::new(ScanPlan::native_name(index))]);
        }
        type_
    }

    /// An expression that the sandbox evaluates itself, over one scan of this SELECT.
    fn native(&self, expr: &Expr, scope: &Scope<'_>) -> Option<(usize, Native)> {
        match expr {
            Expr::Nested(inner) => self.native(inner, scope),
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => match self.resolve_expr(expr, scope)? {
                Meaning::Column { scan, index, type_ } if alias_of(scan, scope).is_some() => {
                    Some((scan, Native::Column(index, type_)))
                }
                _ => None,
            },
            Expr::Cast { expr, data_type, .. } => {
                let (scan, inner) = self.native(expr, scope)?;
                Some((scan, Native::Cast(Box::new(inner), column_type(data_type).ok()?)))
            }
            Expr::Function(function) if function_name(&function.name) == "get_json_object" => {
                let [text, path] = arguments(&function.args)?.try_into().ok()?;
                let (scan, text) = self.native(text, scope)?;
                let path = parse_path(text_literal(path)?)?;
                let text = if text.type_().is_text() { text } else { Native::Cast(Box::new(text), ColumnType::String) };
                Some((scan, Native::JsonObject(Box::new(text), path)))
            }
            _ => None,
        }
    }

    /// Rewrites one node where MaxCompute and the engine differ; its children come later.
    fn prepare(&self, expr: &mut Expr, scope: &Scope<'_>) -> Result<(), SqlError> {
        match expr {
            Expr::BinaryOp { left, op, right } => {
                let types = (self.type_of(left, scope), self.type_of(right, scope));
                match op {
                    BinaryOperator::Divide => {
                        let exact = |type_: &Option<ColumnType>| {
                            matches!(type_, Some(ColumnType::Double | ColumnType::Float | ColumnType::Decimal(_)))
                        };
                        if !exact(&types.0) && !exact(&types.1) {
                            cast_to(left, SqlType::Double);
                        }
                    }
                    BinaryOperator::Eq
                    | BinaryOperator::NotEq
                    | BinaryOperator::Lt
                    | BinaryOperator::LtEq
                    | BinaryOperator::Gt
                    | BinaryOperator::GtEq
                    | BinaryOperator::Plus
                    | BinaryOperator::Minus
                    | BinaryOperator::Multiply
                    | BinaryOperator::Modulo => {
                        self.level(left, &types.0, right, &types.1);
                        self.level(right, &types.1, left, &types.0);
                    }
                    _ => {}
                }
            }
            Expr::Between { expr: middle, low, high, .. } => {
                let middle_type = self.type_of(middle, scope);
                for end in [low, high] {
                    let end_type = self.type_of(end, scope);
                    self.level(middle, &middle_type, end, &end_type);
                    self.level(end, &end_type, middle, &middle_type);
                }
            }
            Expr::InList { expr: middle, list, .. } => {
                let middle_type = self.type_of(middle, scope);
                for element in list {
                    let element_type = self.type_of(element, scope);
                    self.level(middle, &middle_type, element, &element_type);
                    self.level(element, &element_type, middle, &middle_type);
                }
            }
            Expr::Function(_) => self.prepare_function(expr, scope)?,
            _ => {}
        }
        Ok(())
    }

    /// Brings a text next to a number, or next to a moment, to the other side's kind.
    fn level(&self, text: &mut Expr, text_type: &Option<ColumnType>, other: &Expr, other_type: &Option<ColumnType>) {
        if !text_type.as_ref().is_some_and(ColumnType::is_text) {
            return;
        }
        match other_type {
            Some(type_) if is_number(type_) && !matches!(other, Expr::Value(SqlValue::Null)) => {
                cast_to(text, SqlType::Double)
            }
            Some(ColumnType::Datetime | ColumnType::Timestamp | ColumnType::TimestampNtz) => {
                let literal = text_literal(text).map(Value::text);
                if let Some((seconds, nanos)) =
                    literal.and_then(|literal| instant_of(&literal, &self.context.time_zone))
                {
                    let at = jiff::Timestamp::new(seconds, nanos).unwrap_or(jiff::Timestamp::MAX);
                    *text = Expr::TypedString {
                        data_type: SqlType::Timestamp(None, TimezoneInfo::None),
                        value: at.strftime("%Y-%m-%d %H:%M:%S%.9f").to_string(),
                    };
                }
            }
            Some(ColumnType::Date) => {
                if let Some(literal) = text_literal(text) {
                    *text = Expr::TypedString { data_type: SqlType::Date, value: literal.to_owned() };
                }
            }
            _ => {}
        }
    }

    fn prepare_function(&self, expr: &mut Expr, scope: &Scope<'_>) -> Result<(), SqlError> {
        let Expr::Function(function) = expr else { return Ok(()) };
        if function.over.is_some() {
            return Err(SqlError::semantic("the local MaxCompute has no window functions"));
        }
        let name = function_name(&function.name);
        let renamed = match name.as_str() {
            "nvl" => "ifnull",
            "getdate" | "current_timestamp" => "now",
            "substring" => "substr",
            "pow" => "power",
            "stddev" => "stdev",
            "tolower" => "lower",
            "toupper" => "upper",
            "char_length" => "length",
            "wm_concat" | "collect_list" => {
                return Err(SqlError::semantic(format!("the local MaxCompute has no {name}")));
            }
            other => other,
        };
        if renamed != name {
            function.name = ObjectName(vec![Ident::new(renamed)]);
        }
        if matches!(renamed, "sum" | "avg")
            && let Some([argument]) = arguments_mut(&mut function.args).as_deref_mut()
            && self.type_of(argument, scope).is_some_and(|type_| type_.is_text())
        {
            cast_to(argument, SqlType::Double);
        }
        if renamed == "if"
            && let Some(parts) = arguments(&function.args)
            && let [condition, then, otherwise] = parts.as_slice()
        {
            *expr = Expr::Case {
                operand: None,
                conditions: vec![(*condition).clone()],
                results: vec![(*then).clone()],
                else_result: Some(Box::new((*otherwise).clone())),
            };
        }
        Ok(())
    }

    /// The type of an expression, where it can be told without running it.
    fn type_of(&self, expr: &Expr, scope: &Scope<'_>) -> Option<ColumnType> {
        match expr {
            Expr::Identifier(_) | Expr::CompoundIdentifier(_) => match self.resolve_expr(expr, scope)? {
                Meaning::Column { type_, .. } => Some(type_),
                Meaning::Output(type_) => type_,
            },
            Expr::Nested(inner) => self.type_of(inner, scope),
            Expr::UnaryOp { op: UnaryOperator::Not, .. } => Some(ColumnType::Boolean),
            Expr::UnaryOp { expr, .. } => self.type_of(expr, scope),
            Expr::Value(SqlValue::Number(text, _)) => {
                let whole = text.to_string().bytes().all(|byte| byte.is_ascii_digit());
                Some(if whole { ColumnType::BigInt } else { ColumnType::Double })
            }
            Expr::Value(SqlValue::SingleQuotedString(_)) => Some(ColumnType::String),
            Expr::Value(SqlValue::Boolean(_)) => Some(ColumnType::Boolean),
            Expr::Cast { data_type, .. } => column_type(data_type).ok(),
            Expr::BinaryOp { left, op, right } => match op {
                BinaryOperator::Plus | BinaryOperator::Minus | BinaryOperator::Multiply | BinaryOperator::Modulo => {
                    let (left, right) = (self.type_of(left, scope)?, self.type_of(right, scope)?);
                    arithmetic(&left, &right)
                }
                BinaryOperator::Divide => Some(ColumnType::Double),
                BinaryOperator::StringConcat => Some(ColumnType::String),
                BinaryOperator::And
                | BinaryOperator::Or
                | BinaryOperator::Eq
                | BinaryOperator::NotEq
                | BinaryOperator::Lt
                | BinaryOperator::LtEq
                | BinaryOperator::Gt
                | BinaryOperator::GtEq => Some(ColumnType::Boolean),
                _ => None,
            },
            Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::InList { .. }
            | Expr::Between { .. }
            | Expr::Like { .. }
            | Expr::Exists { .. }
            | Expr::InSubquery { .. } => Some(ColumnType::Boolean),
            Expr::Case { results, .. } => results.iter().find_map(|result| self.type_of(result, scope)),
            Expr::Function(function) => {
                let name = function_name(&function.name);
                let first = arguments(&function.args).and_then(|arguments| arguments.first().copied());
                let first_type = || first.and_then(|first| self.type_of(first, scope));
                match name.as_str() {
                    "count" | "length" | "char_length" | "ascii" => Some(ColumnType::BigInt),
                    "sum" => match first_type()? {
                        type_ if is_integer(&type_) => Some(ColumnType::BigInt),
                        ColumnType::Decimal(_) => Some(wide_decimal()),
                        type_ if is_number(&type_) || type_.is_text() => Some(ColumnType::Double),
                        _ => None,
                    },
                    "avg" => Some(ColumnType::Double),
                    "min" | "max" | "ifnull" | "nvl" | "coalesce" | "nullif" | "greatest" | "abs" => first_type(),
                    "concat" | "concat_ws" | "lower" | "upper" | "tolower" | "toupper" | "substr" | "substring"
                    | "replace" | "trim" | "ltrim" | "rtrim" | "reverse" | "repeat" | "lpad" | "rpad" | "md5"
                    | "get_json_object" => Some(ColumnType::String),
                    "now" | "getdate" | "current_timestamp" => Some(ColumnType::Datetime),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

fn alias_of(scan: usize, scope: &Scope<'_>) -> Option<String> {
    let source = scope.sources.iter().find(|source| matches!(source.kind, SourceKind::Scan(index) if index == scan));
    source.map(|source| source.alias.clone())
}

/// `USING (a, b)` as the comparison it means: between the last source and the first that stands before it.
fn using(sources: &[Source], columns: &[Ident]) -> Expr {
    let (first, last) = (sources.first(), sources.last());
    let side = |source: Option<&Source>, column: &Ident| {
        let alias = source.map(|source| source.alias.clone()).unwrap_or_default();
        Box::new(Expr::CompoundIdentifier(vec![Ident::new(alias), column.clone()]))
    };
    let equal = columns.iter().map(|column| Expr::BinaryOp {
        left: side(first, column),
        op: BinaryOperator::Eq,
        right: side(last, column),
    });
    let all = equal.reduce(|left, right| Expr::BinaryOp {
        left: Box::new(left),
        op: BinaryOperator::And,
        right: Box::new(right),
    });
    all.unwrap_or(Expr::Value(SqlValue::Boolean(true)))
}

/// The expressions directly inside another, of the forms the engine takes.
fn children(expr: &mut Expr) -> Vec<&mut Expr> {
    match expr {
        Expr::IsNull(inner)
        | Expr::IsNotNull(inner)
        | Expr::IsTrue(inner)
        | Expr::IsFalse(inner)
        | Expr::Nested(inner)
        | Expr::UnaryOp { expr: inner, .. }
        | Expr::Extract { expr: inner, .. }
        | Expr::Ceil { expr: inner, .. }
        | Expr::Floor { expr: inner, .. } => vec![inner],
        Expr::BinaryOp { left, right, .. } => vec![left, right],
        Expr::Like { expr, pattern, .. } | Expr::ILike { expr, pattern, .. } | Expr::RLike { expr, pattern, .. } => {
            vec![expr, pattern]
        }
        Expr::Between { expr, low, high, .. } => vec![expr, low, high],
        Expr::InList { expr, list, .. } => std::iter::once(&mut **expr).chain(list).collect(),
        Expr::Case { operand, conditions, results, else_result } => operand
            .iter_mut()
            .map(|operand| &mut **operand)
            .chain(conditions)
            .chain(results)
            .chain(else_result.iter_mut().map(|result| &mut **result))
            .collect(),
        Expr::Trim { expr, trim_what, .. } => {
            std::iter::once(&mut **expr).chain(trim_what.iter_mut().map(|what| &mut **what)).collect()
        }
        Expr::Position { expr, r#in } => vec![expr, r#in],
        Expr::Substring { expr, substring_from, substring_for, .. } => std::iter::once(&mut **expr)
            .chain(substring_from.iter_mut().map(|from| &mut **from))
            .chain(substring_for.iter_mut().map(|count| &mut **count))
            .collect(),
        Expr::Function(function) => arguments_mut(&mut function.args).unwrap_or_default().into_iter().collect(),
        _ => Vec::new(),
    }
}

fn arguments(args: &FunctionArguments) -> Option<Vec<&Expr>> {
    let FunctionArguments::List(list) = args else { return None };
    list.args
        .iter()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

fn arguments_mut(args: &mut FunctionArguments) -> Option<Vec<&mut Expr>> {
    let FunctionArguments::List(list) = args else { return None };
    list.args
        .iter_mut()
        .map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => Some(expr),
            _ => None,
        })
        .collect()
}

fn function_name(name: &ObjectName) -> String {
    name.0.last().map(|part| part.value.to_lowercase()).unwrap_or_default()
}

fn text_literal(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Value(SqlValue::SingleQuotedString(text)) => Some(text),
        Expr::Nested(inner) => text_literal(inner),
        _ => None,
    }
}

/// The name of a column that has no alias.
fn label_of(expr: &Expr, index: usize) -> String {
    match expr {
        Expr::Identifier(name) => name.value.clone(),
        Expr::CompoundIdentifier(parts) => parts.last().map(|part| part.value.clone()).unwrap_or_default(),
        _ => format!("_c{index}"),
    }
}

fn case(condition: Expr, then: SqlValue, otherwise: Expr) -> Expr {
    Expr::Case {
        operand: None,
        conditions: vec![condition],
        results: vec![Expr::Value(then)],
        else_result: Some(Box::new(otherwise)),
    }
}

/// `true OR NULL` is true here and NULL there. Where no NOT is around it, an unknown side counts as false.
fn settle_or(expr: &mut Expr) {
    if let Expr::BinaryOp { left, op: BinaryOperator::Or, right } = expr {
        for side in [left, right] {
            // One that is an OR itself is known already; a long chain must not become deeper.
            if !matches!(**side, Expr::BinaryOp { op: BinaryOperator::Or, .. }) {
                let open = std::mem::replace(&mut **side, Expr::Value(SqlValue::Null));
                **side = case(open, SqlValue::Boolean(true), Expr::Value(SqlValue::Boolean(false)));
            }
        }
    }
}

/// NULL is like nothing and in no list: the engine has an error for the one and false for the other. Numbers lose their
/// exponent, too.
fn pass_null(expr: &mut Expr) {
    match expr {
        Expr::Like { expr: value, .. } | Expr::InList { expr: value, .. } => {
            let is_null = Expr::IsNull(value.clone());
            let open = std::mem::replace(expr, Expr::Value(SqlValue::Null));
            *expr = case(is_null, SqlValue::Null, open);
        }
        // 1e3 is 1 with an exponent, which the engine takes for no number at all.
        Expr::Value(SqlValue::Number(number, _)) if number.as_bigint_and_exponent().1 < 0 => {
            *number = number.with_scale(0);
        }
        _ => {}
    }
}

fn cast_to(expr: &mut Expr, data_type: SqlType) {
    let inner = std::mem::replace(expr, Expr::Value(SqlValue::Null));
    *expr = Expr::Cast { kind: CastKind::Cast, expr: Box::new(inner), data_type, format: None };
}

fn column_type(data_type: &SqlType) -> Result<ColumnType, SqlError> {
    ColumnType::parse(&data_type.to_string().to_lowercase()).map_err(|error| SqlError::semantic(error.to_string()))
}

/// The engine's spelling of a cast's target.
fn engine_cast(type_: &ColumnType, written: &SqlType) -> Result<SqlType, SqlError> {
    Ok(match type_ {
        ColumnType::TinyInt => SqlType::Int8(None),
        ColumnType::SmallInt => SqlType::Int16,
        ColumnType::Int => SqlType::Int32,
        ColumnType::BigInt => SqlType::Int64,
        ColumnType::Float => SqlType::Float32,
        ColumnType::Double => SqlType::Float64,
        ColumnType::Boolean => SqlType::Boolean,
        ColumnType::Decimal(_) => SqlType::Decimal(gluesql_core::sqlparser::ast::ExactNumberInfo::None),
        ColumnType::Date => SqlType::Date,
        ColumnType::Datetime | ColumnType::Timestamp | ColumnType::TimestampNtz => {
            SqlType::Timestamp(None, TimezoneInfo::None)
        }
        ColumnType::String | ColumnType::Varchar(_) | ColumnType::Char(_) => SqlType::Text,
        _ => return Err(SqlError::semantic(format!("the local MaxCompute cannot cast to {written}"))),
    })
}

const fn is_integer(type_: &ColumnType) -> bool {
    matches!(type_, ColumnType::TinyInt | ColumnType::SmallInt | ColumnType::Int | ColumnType::BigInt)
}

const fn is_number(type_: &ColumnType) -> bool {
    is_integer(type_) || matches!(type_, ColumnType::Float | ColumnType::Double | ColumnType::Decimal(_))
}

fn arithmetic(left: &ColumnType, right: &ColumnType) -> Option<ColumnType> {
    match (left, right) {
        (left, right) if is_integer(left) && is_integer(right) => Some(ColumnType::BigInt),
        (ColumnType::Decimal(_), right) if is_integer(right) || matches!(right, ColumnType::Decimal(_)) => {
            Some(wide_decimal())
        }
        (left, ColumnType::Decimal(_)) if is_integer(left) => Some(wide_decimal()),
        (left, right) if (is_number(left) || left.is_text()) && (is_number(right) || right.is_text()) => {
            Some(ColumnType::Double)
        }
        _ => None,
    }
}

const fn wide_decimal() -> ColumnType {
    ColumnType::Decimal(Some(DecimalShape { precision: 38, scale: 18 }))
}

fn empty_query() -> Query {
    Query {
        with: None,
        body: Box::new(SetExpr::Values(gluesql_core::sqlparser::ast::Values { explicit_row: false, rows: Vec::new() })),
        order_by: None,
        limit: None,
        limit_by: Vec::new(),
        offset: None,
        fetch: None,
        locks: Vec::new(),
        for_clause: None,
        settings: None,
        format_clause: None,
    }
}
