"use strict";
(() => {
  const form = document.getElementById("filters");
  if (!form) return;
  const search = document.getElementById("search");
  const shown = document.getElementById("shown");
  const nothing = document.getElementById("nothing");
  const lists = [...form.querySelectorAll("select")];
  const cards = [...document.querySelectorAll("#cases .card")].map((element) => ({
    element,
    tokens: new Set(element.dataset.facets.split(" ")),
    text: "",
  }));

  // Collected on the first search: most visits need none.
  const textOf = (card) => (card.text ||= card.element.textContent.toLowerCase());

  const apply = () => {
    const tokens = lists.map((list) => list.value).filter(Boolean);
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const card of cards) {
      const fits = tokens.every((token) => card.tokens.has(token)) &&
        words.every((word) => textOf(card).includes(word));
      card.element.hidden = !fits;
      count += fits;
    }
    shown.textContent = tokens.length || words.length ? `${count} of ${cards.length} cases` : `${cards.length} cases`;
    nothing.hidden = count > 0;
  };

  // A number in the verdict or in the gates leads to its cases.
  const pick = (tokens) => {
    form.reset();
    for (const token of tokens.split(" ")) {
      const list = lists.find((each) => [...each.options].some((option) => option.value === token));
      if (list) list.value = token;
    }
    apply();
  };

  // A link to one case must not lead to a hidden one.
  const reveal = () => {
    const card = cards.find((each) => `#${each.element.id}` === location.hash);
    if (card?.element.hidden) {
      form.reset();
      apply();
      card.element.scrollIntoView();
    }
  };

  for (const element of document.querySelectorAll(".needs-script")) element.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  for (const link of document.querySelectorAll("[data-pick]")) {
    link.addEventListener("click", () => pick(link.dataset.pick));
  }
  document.getElementById("unfold").addEventListener("change", (event) => {
    for (const answer of document.querySelectorAll("details.answer")) answer.open = event.target.checked;
  });
  window.addEventListener("hashchange", reveal);
})();
