"""How the page looks, and what it is told to say."""

CSS = """
/* Colours come from Gradio's theme, which follows the visitor's choice of light or dark. */
.gradio-container { width: 100%; max-width: min(60rem, 100vw) !important; min-width: 0; margin: 0 auto; }
.gradio-container h2 { margin: 1.5rem 0 0.25rem; font-size: 1.25rem; }
.gradio-container h3 { margin: 1rem 0 0.25rem; font-size: 1.05rem; }
.hint { color: var(--body-text-color-subdued); margin: 0 0 0.5rem; }
.scrolls { overflow-x: auto; margin: 0.75rem 0; }
.scrolls table { border-collapse: collapse; min-width: 100%; }
.scrolls :is(table, thead, tbody, tr) { border: 0 !important; }
.scrolls caption { text-align: left; font-weight: 600; padding: 0.25rem 0; }
.scrolls th, .scrolls td {
  padding: 0.3rem 0.6rem !important;
  border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important;
  text-align: left;
  vertical-align: top;
}
.scrolls tbody th { font-weight: 500; overflow-wrap: anywhere; min-width: 6rem; }
.scrolls .number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
@media (max-width: 40rem) {
  .gradio-container main { padding-inline: 0.25rem !important; }
  .scrolls .number { white-space: normal; }
  .scrolls tbody th { min-width: 3rem; }
  .scrolls th, .scrolls td { padding: 0.3rem 0.3rem !important; }
}
.chosen { font-size: 0.8rem; }
.progress progress { width: 100%; height: 0.75rem; accent-color: var(--button-primary-background-fill); }
.progress p { margin: 0.25rem 0; }
.progress p span { margin-left: 0.75rem; font-variant-numeric: tabular-nums; }
.wrong, .done, .finding { border-left: 4px solid; padding: 0.4rem 0.75rem; margin: 0.5rem 0; overflow-wrap: anywhere; }
.wrong, .finding.high { border-color: #b91c1c; }
.finding.medium { border-color: #b45309; }
.done, .finding.low { border-color: #15803d; }
.tried blockquote { border-left: 4px solid var(--border-color-primary); padding: 0.25rem 0.75rem; margin: 0.5rem 0; }
.tried blockquote { overflow-wrap: anywhere; white-space: pre-wrap; }
.tried mark { background: #fde047; color: #1c1917; padding: 0 0.15rem; border-radius: 2px; }
iframe.report { width: 100%; height: 85vh; border: 1px solid var(--border-color-primary); border-radius: 6px; }
pre.card { white-space: pre-wrap; overflow-wrap: anywhere; max-height: 70vh; overflow-y: auto; }
details summary { cursor: pointer; padding: 0.4rem 0; }
:is(summary, .scrolls, pre.card):focus-visible,
label:has(input:is([type="radio"], [type="checkbox"]):focus-visible) {
  outline: 2px solid var(--button-primary-background-fill);
  outline-offset: 2px;
}
"""

# Gradio calls the buttons of all fields of files alike: whoever cannot see them could not tell which is which. And it
# lets the browser offer to remember the token.
NAMES = """
() => {
  const fields = ["clean", "evaluation", "unlabeled"].map((id) => document.getElementById(id)).filter(Boolean);
  const name = () => {
    for (const field of fields) {
      const words = field.querySelector("label").innerText.trim();
      for (const part of field.querySelectorAll("button[aria-label]")) {
        if (!part.ariaLabel.startsWith(words)) part.ariaLabel = `${words}: ${part.ariaLabel}`;
      }
    }
  };
  fields.forEach((field) => new MutationObserver(name).observe(field, {childList: true, subtree: true}));
  name();
  for (const secret of document.querySelectorAll("#token input")) secret.autocomplete = "off";
}
"""
