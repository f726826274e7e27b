//! Where a run's figures are kept: a folder for each model of processor, and an index of them.
//!
//! `--out docs/performance.md` writes the index there, and the page and the pictures of the
//! processor at hand into `docs/performance/MODEL/`. Of other models' folders only the first line
//! of their pages is read, which is their title.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::Outcome;

/// What a folder's page is called, so that a browser of files shows it.
const PAGE: &str = "README.md";

/// Where the pages of one run go.
pub struct Pages {
    index: PathBuf,
    /// This model's own.
    folder: PathBuf,
}

impl Pages {
    /// Makes the folder of this model.
    pub fn new(index: &Path, processor: &str) -> Outcome<Self> {
        let folder = index.with_extension("").join(slug(processor));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { index: index.into(), folder })
    }

    /// Where this model's pictures go; its page names them without a path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes this model's page, and the index with `head` above the list of all.
    pub fn write(&self, page: &str, head: &str) -> Outcome {
        std::fs::write(self.folder.join(PAGE), page)?;
        let pages = self.index.with_extension("");
        let mut titles = Vec::new();
        for entry in std::fs::read_dir(&pages)? {
            let folder = entry?.file_name().to_string_lossy().into_owned();
            if let Ok(page) = std::fs::read_to_string(pages.join(&folder).join(PAGE)) {
                let title = page.lines().next().unwrap_or_default();
                titles.push((folder, title.trim_start_matches("# ").to_owned()));
            }
        }
        titles.sort();
        let name = pages.file_name().unwrap_or_default().to_string_lossy();
        let mut index = head.to_owned();
        for (folder, title) in titles {
            let _ = writeln!(index, "* [{title}]({name}/{folder}/{PAGE})");
        }
        Ok(std::fs::write(&self.index, index)?)
    }
}

/// A processor's name as one of a folder.
fn slug(processor: &str) -> String {
    let lower = processor.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_a_folder() {
        assert_eq!(slug("AMD EPYC (family 25, model 17)"), "amd-epyc-family-25-model-17");
        assert_eq!(slug("Intel(R) Xeon(R) CPU @ 2.20GHz"), "intel-r-xeon-r-cpu-2-20ghz");
    }

    #[test]
    fn other_models_pages_stay_as_they_are() -> Outcome {
        let scratch = std::env::temp_dir().join(format!("peers-pages-{}", std::process::id()));
        let index = scratch.join("performance.md");
        let old = Pages::new(&index, "Old (family 1, model 2)")?;
        old.write("# Old\n\nnever\r\n  mended ", "")?;
        std::fs::write(old.folder().join("throughput.svg"), [0, 159, 146, 150])?;
        let folder = scratch.join("performance/old-family-1-model-2");
        let kept = || {
            (std::fs::read(folder.join("README.md")), std::fs::read(folder.join("throughput.svg")))
        };
        let before = kept();

        let new = Pages::new(&index, "New (family 1, model 3)")?;
        new.write("# New, once\n", "Head\n\n")?;
        new.write("# New, again\n", "Head\n\n")?;
        let after = kept();
        let listed = std::fs::read_to_string(&index);
        std::fs::remove_dir_all(&scratch)?;
        assert_eq!((before.0?, before.1?), (after.0?, after.1?));
        assert_eq!(
            listed?,
            "Head\n\n\
             * [New, again](performance/new-family-1-model-3/README.md)\n\
             * [Old](performance/old-family-1-model-2/README.md)\n"
        );
        Ok(())
    }
}
