//! Every case on the clock: `cargo bench -p forebay-protocol-benches [-- NAME-PART]`.

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use forebay_protocol_benches::cases;

fn main() {
    divan::main();
}

#[divan::bench(args = cases().into_iter().map(|case| case.name))]
fn case(bencher: Bencher<'_, '_>, name: &str) {
    let case = cases().into_iter().find(|case| case.name == name).expect("a case of this name");
    let run = (case.prepare)();
    bencher.counter(BytesCount::new(case.bytes)).counter(ItemsCount::new(case.items)).bench_local(run);
}
