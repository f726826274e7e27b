//! Finds every memory ordering above Relaxed in the sources, and its label in the comment beside
//! it.
//!
//! A site is an `Acquire`, `Release`, `AcqRel` or `SeqCst` anywhere in `src/`, or a membarrier;
//! tests and the models' own half of `sync` excepted. It must be labelled: a comment at the end of
//! its line, or directly above its statement, says
//!
//! ```text
//! // P2 → C1: ...        a release, and the acquire that it is for
//! // C1 ← P2: ...        an acquire, and the release that it is for
//! // B1 ↔ B2: ...        a fence, and the fence that it is for
//! ```
//!
//! An `AcqRel` says both. A second ordering in one call, that of a failed compare-and-swap, has its
//! label behind the words "On failure". Whatever is not said so is an error: this is the check that
//! every ordering has its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Range;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use proc_macro2::{LineColumn, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The orderings that can be weakened.
const STRONG: [&str; 4] = ["Acquire", "Release", "AcqRel", "SeqCst"];

/// A call that orders without saying `Ordering`.
const MEMBARRIER: &str = "everywhere";

/// Whose orderings are the models' own: it is not shipped.
const NOT_SHIPPED: &str = "sync/model.rs";

/// One ordering in the sources.
#[derive(Debug)]
pub struct Site {
    /// Path below `src/`.
    pub file: String,
    /// From 1.
    pub line: usize,
    pub label: String,
    /// `Type::function`.
    pub function: String,
    /// The call's name; with ` failure` for a compare-and-swap's second ordering. Numbered if its
    /// function has several with the same label.
    pub operation: String,
    pub ordering: String,
    /// What a mutated tree replaces: bytes of the file.
    pub bytes: Range<usize>,
}

impl Site {
    /// Names the site in the table and in the explanations.
    pub fn key(&self) -> String {
        format!("{} {} {} {}", self.label, self.file, self.function, self.operation)
    }

    /// It can be left out altogether.
    pub fn is_fence(&self) -> bool {
        ["fence", "compiler_fence", MEMBARRIER]
            .iter()
            .any(|name| self.operation.split(' ').next() == Some(name))
    }

    /// What it is weakened to. A fence is removed, too, which is called `nothing`.
    pub fn weaker(&self) -> &'static [&'static str] {
        match (self.ordering.as_str(), self.is_fence()) {
            ("Acquire" | "Release", false) => &["Relaxed"],
            ("AcqRel", false) => &["Acquire", "Release", "Relaxed"],
            ("SeqCst", false) => &["AcqRel"],
            ("SeqCst", true) if self.operation.starts_with("fence") => &["AcqRel", "nothing"],
            (_, true) => &["nothing"],
            _ => unreachable!("only strong orderings are sites"),
        }
    }
}

/// All sites below `root/src`, in the order of files and lines.
pub fn find(root: &Path) -> Result<Vec<Site>> {
    let src = root.join("src");
    let (mut files, mut for_tests) = (Vec::new(), Vec::new());
    for file in rust_files(&src)? {
        let path = src.join(&file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for_tests.extend(test_modules(&file, &text)?);
        files.push((file, text));
    }
    let mut sites = Vec::new();
    for (file, text) in &files {
        let skip = for_tests.iter().any(|module| file.starts_with(module.as_str()));
        if !skip && file != NOT_SHIPPED {
            sites.extend(find_in(file, text)?);
        }
    }
    number_namesakes(&mut sites);
    let keys: BTreeSet<_> = sites.iter().map(Site::key).collect();
    ensure!(keys.len() == sites.len(), "two sites have the same name");
    Ok(sites)
}

/// The modules that a file declares for tests alone: how the paths of their files begin.
fn test_modules(file: &str, text: &str) -> Result<Vec<String>> {
    let syntax = syn::parse_file(text).with_context(|| file.to_owned())?;
    let stem = file.trim_end_matches(".rs");
    let inside = match stem.rsplit_once('/') {
        Some((directory, "mod")) => format!("{directory}/"),
        None if stem == "lib" => String::new(),
        _ => format!("{stem}/"),
    };
    let module = |item: &syn::Item| match item {
        syn::Item::Mod(item) if item.content.is_none() && for_tests(&item.attrs) => {
            Some(item.ident.to_string())
        }
        _ => None,
    };
    let names = syntax.items.iter().filter_map(module);
    Ok(names.flat_map(|name| [format!("{inside}{name}.rs"), format!("{inside}{name}/")]).collect())
}

/// Relative to `src`, sorted.
fn rust_files(src: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut directories = vec![src.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).with_context(|| directory.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(src).context("it was found there")?;
                found.insert(relative.to_str().context("a path that is no text")?.to_owned());
            }
        }
    }
    Ok(found)
}

/// The sites of one file, not yet numbered.
fn find_in(file: &str, text: &str) -> Result<Vec<Site>> {
    let syntax = syn::parse_file(text).with_context(|| file.to_owned())?;
    let mut finder = Finder { file, text: Text::new(text), ..Finder::default() };
    finder.visit_file(&syntax);
    match finder.problems.is_empty() {
        true => Ok(finder.sites),
        false => bail!("{}", finder.problems.join("\n")),
    }
}

fn number_namesakes(sites: &mut [Site]) {
    let mut seen = BTreeMap::<String, usize>::new();
    for site in sites {
        let count = seen.entry(site.key()).or_default();
        *count += 1;
        if *count > 1 {
            site.operation = format!("{} {count}", site.operation);
        }
    }
}

/// Lines and columns of a file's text.
#[derive(Default)]
struct Text<'a> {
    lines: Vec<&'a str>,
}

impl<'a> Text<'a> {
    fn new(whole: &'a str) -> Self {
        Self { lines: whole.split_inclusive('\n').collect() }
    }

    /// Columns count characters.
    fn offset(&self, at: LineColumn) -> usize {
        let before: usize = self.lines[..at.line - 1].iter().map(|line| line.len()).sum();
        let line = self.lines[at.line - 1];
        before + line.chars().take(at.column).map(char::len_utf8).sum::<usize>()
    }

    /// The comment at the end of a line, or else the one directly above the line `statement`.
    fn comment(&self, line: usize, statement: usize) -> Option<String> {
        if let Some((_, trailing)) = self.lines[line - 1].split_once(" // ") {
            return Some(trailing.trim().to_owned());
        }
        let above = self.lines[..statement - 1].iter().rev();
        let mut comment: Vec<_> = above.map_while(|line| line.trim().strip_prefix("// ")).collect();
        comment.reverse();
        (!comment.is_empty()).then(|| comment.join(" "))
    }
}

#[derive(Default)]
struct Finder<'a> {
    file: &'a str,
    text: Text<'a>,
    sites: Vec<Site>,
    problems: Vec<String>,
    /// What we are in: the type, the function, the line where the statement begins, the call.
    of_type: Option<String>,
    function: Option<String>,
    statement: usize,
    call: Option<Call>,
}

struct Call {
    name: String,
    /// Orderings in it so far, whatever their strength.
    orderings: usize,
    /// A whole call that is an ordering's alone is replaced as a whole.
    fence: Option<Range<usize>>,
}

impl Finder<'_> {
    fn problem(&mut self, line: usize, what: &str) {
        self.problems.push(format!("src/{}:{line}: {what}", self.file));
    }

    fn ordering(&mut self, path: &syn::ExprPath, ordering: String) {
        let line = path.span().start().line;
        let bytes = self.bytes(path.span());
        let Some(call) = &mut self.call else {
            return self.problem(line, "an ordering outside a call");
        };
        let failure = call.name.starts_with("compare_exchange") && call.orderings > 0;
        call.orderings += 1;
        if !STRONG.contains(&ordering.as_str()) {
            return;
        }
        let operation = format!("{}{}", call.name, if failure { " failure" } else { "" });
        let bytes = call.fence.clone().unwrap_or(bytes);
        self.site(line, operation, ordering, bytes);
    }

    fn site(&mut self, line: usize, operation: String, ordering: String, bytes: Range<usize>) {
        let Some(comment) = self.text.comment(line, self.statement) else {
            return self.problem(line, "an ordering without a comment beside or above it");
        };
        let (success, on_failure) = comment.split_once("On failure").unwrap_or((&comment, ""));
        match label(if operation.ends_with(" failure") { on_failure } else { success }, &ordering) {
            Err(why) => self.problem(line, &format!("{ordering}: {why}")),
            Ok(label) => self.sites.push(Site {
                file: self.file.to_owned(),
                line,
                label,
                function: [self.of_type.clone(), self.function.clone()]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join("::"),
                operation,
                ordering,
                bytes,
            }),
        }
    }

    fn bytes(&self, span: proc_macro2::Span) -> Range<usize> {
        self.text.offset(span.start())..self.text.offset(span.end())
    }

    fn in_call(
        &mut self,
        name: String,
        fence: Option<Range<usize>>,
        visit: impl FnOnce(&mut Self),
    ) {
        let outer = self.call.replace(Call { name, orderings: 0, fence });
        visit(self);
        self.call = outer;
    }

    fn in_function(&mut self, name: String, visit: impl FnOnce(&mut Self)) {
        let outer = self.function.replace(name);
        visit(self);
        self.function = outer;
    }
}

/// Built for tests alone, or for Miri, whose half of `sync` is simpler.
fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        list.path.is_ident("cfg") && {
            let condition = list.tokens.to_string();
            condition == "test" || condition == "miri" || condition.starts_with("all (test")
        }
    })
}

/// The label that a comment gives an ordering.
fn label(comment: &str, ordering: &str) -> Result<String> {
    let words: Vec<_> = comment.split_whitespace().collect();
    let labelled = |arrow: &str| {
        words.windows(3).find_map(|three| {
            let (this, other) = (is_label(three[0])?, is_label(three[2])?);
            (three[1] == arrow && this != other).then(|| this.to_owned())
        })
    };
    let needs: &[&str] = match ordering {
        "Acquire" => &["←"],
        "Release" => &["→"],
        "AcqRel" => &["←", "→"],
        _ => &["↔"],
    };
    let mut found = None;
    for arrow in needs {
        let label = labelled(arrow)
            .with_context(|| format!("its comment has no `LABEL {arrow} LABEL`: {comment:?}"))?;
        found.get_or_insert(label);
    }
    found.context("every ordering needs something")
}

/// `S2a` of `S2a,` or `S2a:`.
fn is_label(word: &str) -> Option<&str> {
    let word = word.trim_end_matches([',', ':', ';', '.']);
    let mut rest = word.chars();
    let named = rest.next()?.is_ascii_uppercase() && rest.next()?.is_ascii_digit();
    let suffix = rest.next().is_none_or(|c| c.is_ascii_lowercase()) && rest.next().is_none();
    (named && suffix).then_some(word)
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes: &[_] = match item {
            syn::Item::Use(_) => return,
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            _ => &[],
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            syn::Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let outer = std::mem::replace(&mut self.of_type, name);
        visit::visit_item_impl(self, item);
        self.of_type = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.in_function(item.sig.ident.to_string(), |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.in_function(item.sig.ident.to_string(), |this| visit::visit_impl_item_fn(this, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.in_function(item.sig.ident.to_string(), |this| {
            visit::visit_trait_item_fn(this, item);
        });
    }

    fn visit_stmt(&mut self, statement: &'ast syn::Stmt) {
        let outer = std::mem::replace(&mut self.statement, statement.span().start().line);
        visit::visit_stmt(self, statement);
        self.statement = outer;
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.visit_expr(&call.receiver);
        self.in_call(call.method.to_string(), None, |this| {
            for argument in &call.args {
                this.visit_expr(argument);
            }
        });
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let name = match &*call.func {
            syn::Expr::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()),
            _ => None,
        };
        let name = name.unwrap_or_default();
        let whole = ["fence", "compiler_fence", MEMBARRIER].contains(&name.as_str());
        let fence = whole.then(|| self.bytes(call.span()));
        if let (MEMBARRIER, Some(bytes)) = (name.as_str(), &fence) {
            let line = call.span().start().line;
            self.site(line, name.clone(), "membarrier".to_owned(), bytes.clone());
        }
        self.in_call(name, fence, |this| visit::visit_expr_call(this, call));
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        let Some(last) = path.path.segments.last() else { return };
        let name = last.ident.to_string();
        if name == "Relaxed" || STRONG.contains(&name.as_str()) {
            self.ordering(path, name);
        }
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        if mentions_an_ordering(invocation.tokens.clone()) {
            let line = invocation.span().start().line;
            self.problem(line, "an ordering inside a macro, where it cannot be weakened");
        }
    }
}

fn mentions_an_ordering(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => mentions_an_ordering(group.stream()),
        TokenTree::Ident(name) => STRONG.iter().any(|strong| name == strong),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        find_in("some.rs", text).expect_err("it has a fault").to_string()
    }

    #[test]
    fn an_ordering_is_named_by_its_label_function_and_call() {
        let text = "impl T { fn f(&self) {\n  self.0.load(Acquire); // A1 ← A2: why\n} }";
        let sites = find_in("some.rs", text).unwrap();
        assert_eq!(sites[0].key(), "A1 some.rs T::f load");
        assert_eq!(&text[sites[0].bytes.clone()], "Acquire");
        assert_eq!(sites[0].weaker(), ["Relaxed"]);
    }

    #[test]
    fn a_comment_above_the_statement_labels_success_and_failure() {
        let text = "fn f() {\n  // S2 → X1: why. On failure\n  // S0 ← S2: again.\n  \
                    if x.compare_exchange(0, 1,\n    Release, Acquire).is_ok() {}\n}";
        let keys: Vec<_> = find_in("m.rs", text).unwrap().iter().map(Site::key).collect();
        assert_eq!(keys, ["S2 m.rs f compare_exchange", "S0 m.rs f compare_exchange failure"]);
    }

    #[test]
    fn a_fence_is_replaced_as_a_whole() {
        let text = "fn f() {\n  fence(SeqCst); // B1 ↔ B2\n}";
        let sites = find_in("b.rs", text).unwrap();
        assert_eq!(&text[sites[0].bytes.clone()], "fence(SeqCst)");
        assert_eq!(sites[0].weaker(), ["AcqRel", "nothing"]);
    }

    #[test]
    fn a_membarrier_is_a_site() {
        let text = "fn f() {\n  g(membarrier::everywhere(word)); // B1 ↔ B2\n}";
        let sites = find_in("b.rs", text).unwrap();
        assert_eq!(&text[sites[0].bytes.clone()], "membarrier::everywhere(word)");
        assert_eq!(
            (sites[0].key().as_str(), sites[0].weaker()),
            ("B1 b.rs f everywhere", &["nothing"][..])
        );
        assert!(problem("fn f() { membarrier::everywhere(word); }").contains("without a comment"));
    }

    #[test]
    fn a_module_for_tests_is_known_by_its_declaration() {
        let text = "#[cfg(all(test, not(loom)))]\nmod litmus;\nmod word;";
        assert_eq!(test_modules("wait/mod.rs", text).unwrap(), ["wait/litmus.rs", "wait/litmus/"]);
        assert_eq!(test_modules("lib.rs", "#[cfg(test)] mod t;").unwrap(), ["t.rs", "t/"]);
        assert_eq!(test_modules("a/b.rs", "#[cfg(test)] mod t;").unwrap(), ["a/b/t.rs", "a/b/t/"]);
    }

    #[test]
    fn an_ordering_without_a_label_is_an_error() {
        assert!(problem("fn f() { x.load(Acquire); }").contains("some.rs:1: an ordering without"));
        let vague = "fn f() {\n x.store(1, Release); // for the others\n}";
        assert!(problem(vague).contains("no `LABEL → LABEL`"));
        let half = "fn f() {\n x.swap(1, AcqRel); // A1 → A2\n}";
        assert!(problem(half).contains("no `LABEL ← LABEL`"));
        let failure = "fn f() {\n x.compare_exchange(0, 1, Release, Acquire); // A1 → A2\n}";
        assert!(problem(failure).contains("Acquire: its comment has no"));
        assert!(problem("fn f() { assert!(x.load(Acquire)); }").contains("inside a macro"));
        assert!(problem("fn f() { let order = Acquire; }").contains("outside a call"));
    }

    #[test]
    fn tests_and_imports_are_not_sites() {
        let text = "use a::Acquire;\n#[cfg(test)] mod tests { fn f() { x.load(Acquire); } }";
        assert!(find_in("some.rs", text).unwrap().is_empty());
    }
}
