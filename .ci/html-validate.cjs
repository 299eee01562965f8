// How html-validate judges letters. Mail programs are older than the standard for pages: what they need and it forbids is turned
// off here, each with the reason; all else that it recommends holds.
module.exports = {
  root: true,
  extends: ['html-validate:recommended'],
  rules: {
    // Outlook lays out by tables and their attributes, and knows no style sheets for that.
    'no-deprecated-attr': 'off',
    // Styles stand at the elements because many mail programs drop style sheets.
    'no-inline-style': 'off',
    // The reference of MJML writes both, and so does mrml: a space or a slash at the end means nothing.
    'void-style': 'off',
    // Outlook reads conditional comments, and only there; nobody else sees them.
    'no-conditional-comment': 'off',
    // MJML gives a div the role of an article: some mail programs drop elements that they do not know.
    'prefer-native-element': ['error', { exclude: ['article'] }],
    // "<!doctype html>" and "<!DOCTYPE html>" are the same.
    'doctype-style': 'off',
  },
}
