#include "model/chat_template.hpp"

#include <algorithm>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "model/expect_error.hpp"
#include "model/golden_file.hpp"

namespace cohort {
namespace {

using test::expect_error;
using test::TemplateGolden;

const std::vector<ChatMessage> kMessages{{"user", "Hello"}, {"assistant", "Hi"}};

std::string render(std::string_view source) {
  return ChatTemplate(source).render(kMessages, {.bos_token = "<s>", .eos_token = std::nullopt});
}

TEST(ChatTemplateGolden, WholeTemplatesRenderAsWithJinja2) {
  const TemplateGolden golden = test::read_template_golden();
  ASSERT_GE(golden.sources.size(), 5U);
  ASSERT_GE(golden.rendered.size(), golden.sources.size() * golden.conversations.size() * 2);
  std::vector<ChatTemplate> templates;
  for (const TemplateGolden::Source& source : golden.sources) templates.emplace_back(source.text);
  for (const TemplateGolden::Rendered& expected : golden.rendered) {
    const ChatOptions options{expected.add_generation_prompt, "<s>", "</s>"};
    EXPECT_EQ(
        templates[expected.source].render(golden.conversations[expected.conversation], options),
        expected.text)
        << golden.sources[expected.source].name << ", conversation " << expected.conversation;
  }
}

TEST(ChatTemplateGolden, SmallProgramsDoAsWithJinja2) {
  const TemplateGolden golden = test::read_template_golden();
  ASSERT_GE(golden.programs.size(), 200U);
  const ChatOptions options{true, "<s>", std::nullopt};
  std::size_t refused_count = 0;
  for (const TemplateGolden::Program& program : golden.programs) {
    SCOPED_TRACE(testing::PrintToString(program.source));
    const auto run = [&] {
      return ChatTemplate(program.source).render(golden.conversations.at(3), options);
    };
    if (program.text) {
      EXPECT_EQ(run(), *program.text);
    } else {
      expect_error(ErrorCode::unsupported, "the model's chat template, line ", run);
      ++refused_count;
    }
  }
  EXPECT_GE(refused_count, 15U);
}

struct Refusal {
  std::string source;
  std::string place;
  std::string problem;
};

void expect_refusals(const std::vector<Refusal>& refusals) {
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.source.substr(0, 60));
    expect_error(ErrorCode::unsupported,
                 "the model's chat template, " + refusal.place + ": " + refusal.problem,
                 [&] { render(refusal.source); });
  }
}

TEST(ChatTemplate, RefusesWhatDoesNotEnd) {
  expect_refusals({
      {"a {{ b", "line 1, column 3", "the tag is not closed by '}}'"},
      {"a\n {% if x", "line 2, column 2", "the tag is not closed by '%}'"},
      {"{% if x }}", "line 1, column 1", "the tag is not closed by '%}'"},
      {"a\r\n{# b", "line 2, column 1", "the comment is not closed by '#}'"},
      {"{{ 'a }}", "line 1, column 4", "the string is not closed"},
      {"{{ 'a\\", "line 1, column 4", "the string is not closed"},
      {"{% if true %}a", "line 1, column 4", "'if' is not closed by 'endif'"},
      {"{% if true %}a{% else %}", "line 1, column 4", "'if' is not closed by 'endif'"},
      {"\n{%- for m in messages %}a", "line 2, column 5", "'for' is not closed by 'endfor'"},
      {"{% for m in messages %}{% endif %}", "line 1, column 27", "'endif' does not belong here"},
      {"{% if true %}{% endfor %}", "line 1, column 17", "'endfor' does not belong here"},
      {"{% endif %}", "line 1, column 4", "'endif' does not belong here"},
      {"{% if 0 %}{% else %}{% else %}{% endif %}", "line 1, column 24",
       "'else' does not belong here"},
      {"{% for m in messages %}{% else %}{% endfor %}", "line 1, column 27",
       "'else' does not belong here"},
      {"{{ (1 }}", "line 1, column 7", "')' is missing here"},
      {"{{ messages[0 }}", "line 1, column 15", "']' is missing here"},
  });
}

TEST(ChatTemplate, RefusesWhatIsNotOfTheSubset) {
  expect_refusals({
      {"{{ 'a' | upper }}", "line 1, column 10", "filter 'upper' is not supported; known: trim"},
      {"{{ 'a' | trim('x') }}", "line 1, column 14", "arguments of a filter"},
      {"{{ 'a' | }}", "line 1, column 10", "filter '}}' is not supported"},
      {"{{ 1 is odd }}", "line 1, column 9", "test 'odd' is not supported; known: defined, none"},
      {"{{ 1 is defined(1) }}", "line 1, column 16", "arguments of a test are not supported"},
      {"{{ -1[0] }}", "line 1, column 6", "'[' is not supported here"},
      {"{{ 1 is defined in x }}", "line 1, column 17", "arguments of a test are not supported"},
      {"{{ 1 is none is none }}", "line 1, column 14", "arguments of a test are not supported"},
      {"\n\n  {% macro f() %}", "line 3, column 6", "statement 'macro' is not supported; known:"},
      {"{% raw %}", "line 1, column 4", "statement 'raw'"},
      {"{% %}", "line 1, column 4", "statement '%}'"},
      {"{{ raise_exception('no') }}", "line 1, column 19", "calls are not supported"},
      {"{{ 'a'.strip() }}", "line 1, column 13", "calls are not supported"},
      {"{{ messages[1:] }}", "line 1, column 14", "slices are not supported"},
      {"{{ messages[:1] }}", "line 1, column 13", "':' is not supported here"},
      {"{{ 2 * 3 }}", "line 1, column 6", "'*' is not supported here"},
      {"{{ 3 - 2 }}", "line 1, column 6", "'-' is not supported here"},
      {"{{ 'a' ~ 'b' }}", "line 1, column 8", "'~' is not supported here"},
      {"{{ 1 < 2 }}", "line 1, column 6", "'<' is not supported here"},
      {"{{ 1 <= 2 }}", "line 1, column 6", "'<=' is not supported here"},
      {"{{ 1 == 1 == 1 }}", "line 1, column 11", "a comparison of three values"},
      {"{{ 'a' if 1 else 'b' }}", "line 1, column 8", "'if' is not supported here"},
      {"{{ 1, 2 }}", "line 1, column 5", "',' is not supported here"},
      {"{{ [1] }}", "line 1, column 4", "'[' is not supported here"},
      {"{{ {} }}", "line 1, column 4", "'{' is not supported here"},
      {"{{ -x }}", "line 1, column 4", "'-' is not supported here"},
      {"{{ }}", "line 1, column 4", "the tag ends where an expression should go on"},
      {"{{ 1 + }}", "line 1, column 8", "the tag ends where"},
      {"{{ not }}", "line 1, column 8", "the tag ends where"},
      {"{{ 1 'a' }}", "line 1, column 6", "a string is not expected here"},
      {"{{ and }}", "line 1, column 4", "'and' is not supported here"},
      {"{{ messages. }}", "line 1, column 14", "a name is missing after '.'"},
      {"{{ messages.0 }}", "line 1, column 13", "a name is missing after '.'"},
      {"{{ 1.5 }}", "line 1, column 4", "numbers other than decimal integers"},
      {"{{ 0x1F }}", "line 1, column 4", "numbers other than decimal integers"},
      {"{{ 1_000 }}", "line 1, column 4", "numbers other than decimal integers"},
      {"{{ 007 }}", "line 1, column 4", "numbers other than decimal integers"},
      {"{{ 99999999999999999999 }}", "line 1, column 4", "the number is too large"},
      {"{{ 'a\\q' }}", "line 1, column 6", "this escape in a string is not supported"},
      {"{{ 'a\\x4' }}", "line 1, column 6", "the escape needs more hexadecimal digits"},
      {"{{ '\\ud83d' }}", "line 1, column 5", "the escape names no character"},
      {"{{ \u00E9 }}", "line 1, column 4", "'\u00E9' is not supported here"},
      {"\u00E9\u4E16{{ ? }}", "line 1, column 6", "'?' is not supported here"},
      {"{% set x %}", "line 1, column 10", "'=' is missing here"},
      {"{% set x, y = 1 %}", "line 1, column 9", "'=' is missing here"},
      {"{% set x.y = 1 %}", "line 1, column 9", "'=' is missing here"},
      {"{% set x = 1 2 %}", "line 1, column 14", "'2' is not supported here"},
      {"{% set 'x' = 1 %}", "line 1, column 8", "the name of a variable is missing here"},
      {"{% set loop = 1 %}", "line 1, column 8", "the name of a variable is missing here"},
      {"{% for a, b in messages %}", "line 1, column 9", "'in' is missing here"},
      {"{% for none in messages %}", "line 1, column 8", "the name of a variable is missing"},
      {"{% for m in messages if m %}", "line 1, column 22", "'if' is not supported here"},
      {"{% for m in messages recursive %}", "line 1, column 22", "'recursive' is not supported"},
      {"{{ loop.first }}", "line 1, column 4", "'loop' is used outside of a 'for'"},
      {"{% for m in messages %}{{ loop }}", "line 1, column 32", "'.' is missing here"},
      {"{% for m in messages %}{{ loop.length }}", "line 1, column 32",
       "'loop.length' is not supported; known: first, last, index, index0"},
  });
}

TEST(ChatTemplate, RefusesWhatCannotBeDoneWithTheseMessages) {
  expect_refusals({
      {"{{ nothing.x }}", "line 1, column 12", "'nothing' is undefined, so it has no members"},
      {"a\n{{ messages[0].x.y }}", "line 2, column 18", "'x' is undefined"},
      {"{{ 'a' + 1 }}", "line 1, column 10", "a sum of a string and an integer"},
      {"{{ 'a' + 'b' + none }}", "line 1, column 16", "a sum of a string and none"},
      {"{{ eos_token + 'a' }}", "line 1, column 16",
       "a sum of undefined ('eos_token') and a string"},
      {"{{ 9223372036854775807 + 1 }}", "line 1, column 26", "the sum is too large"},
      {"{{ messages }}", "line 1, column 4", "a list as text"},
      {"{{ messages[0] }}", "line 1, column 13", "a mapping as text"},
      {"{{ messages | trim }}", "line 1, column 15", "a list as text"},
      {"{{ nothing | tojson }}", "line 1, column 14", "undefined ('nothing') as JSON"},
      {"{{ 1 in 2 }}", "line 1, column 6", "a search for an integer in an integer"},
      {"{% for c in 'ab' %}{% endfor %}", "line 1, column 13", "a loop over a string"},
      {"{% for k in messages[0] %}{% endfor %}", "line 1, column 22", "a loop over a mapping"},
  });
}

TEST(ChatTemplate, LimitsHowMuchAProgramMayDo) {
  const auto repeated = [](std::string_view part, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += part;
    return text;
  };
  EXPECT_EQ(render("{{ " + repeated("(", 90) + "1" + repeated(")", 90) + " }}"), "1");
  EXPECT_EQ(render("{{ 'a'" + repeated(" + 'a'", 5000) + " }}"), repeated("a", 5001));
  expect_refusals({
      {"{{ " + repeated("(", 100'000) + "}}", "line 1, column 104", "nested more than 100 deep"},
      {"{{ " + repeated("not ", 100'000) + "}}", "line 1, column 400", "nested more than 100 deep"},
      {repeated("{% if 1 %}", 100'000), "line 1, column 1004", "nested more than 100 deep"},
      {"{{ x" + repeated("[0]", 100'000) + "}}", "line 1, column 305",
       "too many members of members"},
      {"{{ x" + repeated("|trim", 100'000) + "}}", "line 1, column 505", "too many filters"},
      {repeated("{% for m in messages %}", 17) + repeated("{% endfor %}", 17), "line 1, column 349",
       "loops run more than 100000 times"},
      {"{% set x = 'abcdefgh' %}" + repeated("{% set x = x + x %}", 30), "line 1, column 477",
       "the text grows past 64 MiB"},
  });
}

// Text by text no other limit is reached, but all together would take hours.
TEST(ChatTemplate, WorkIsLimited) {
  const auto repeated = [](const std::string& part, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += part;
    return text;
  };
  const std::string long_text = "{% set x = 'a' %}" + repeated("{% set x = x + x %}", 22);
  const std::string loops = repeated("{% for m in messages %}", 12) + "{% if x == x %}{% endif %}" +
                            repeated("{% endfor %}", 12);
  const std::string search = "{% set y = x + 'b' %}{% if y in x + x %}{% endif %}";
  for (const std::string& source : {long_text + loops, long_text + search}) {
    expect_error(ErrorCode::unsupported, "the template takes too long to run",
                 [&] { render(source); });
  }
}

TEST(ChatTemplate, CharactersAreCountedNotBytes) {
  EXPECT_EQ(render("{% set x = 'aé你' %}{{ x[0] }}{{ x[1] }}{{ x[2] }}{{ x[3] }}"), "aé你");
  EXPECT_EQ(render("{% set x = 'aé你' %}{{ x[-3] }}{{ x[-2] }}{{ x[-1] }}{{ x[-4] }}"), "aé你");
}

TEST(ChatTemplate, TextThatIsNotUtf8IsRefused) {
  expect_error(ErrorCode::corrupt, "not UTF-8 at byte offset 1", [] { ChatTemplate("a\xFF"); });
  const std::vector<ChatMessage> messages{{"user", "ok"}, {"user", "\xC3"}};
  expect_error(ErrorCode::usage, "message 1 of the chat is not UTF-8",
               [&] { ChatTemplate("x").render(messages, {}); });
}

// Whatever comes out of damaged templates is text or an Error; sanitizers watch the rest.
TEST(ChatTemplate, DamagedTemplatesDoNoHarm) {
  const TemplateGolden golden = test::read_template_golden();
  const std::vector<std::string> parts{"{{", "}}", "{%", "%}",    "{#",   "#}",  "-",
                                       "+",  "(",  ")",  "[",     "]",    "'",   "\"",
                                       "\\", "\n", "|",  "endif", "not ", "\xFF"};
  std::mt19937 random(11);
  std::size_t refused_count = 0;
  constexpr std::size_t kRounds = 3000;
  for (std::size_t round = 0; round < kRounds; ++round) {
    std::string source = golden.sources[round % golden.sources.size()].text;
    for (std::size_t edit = 0; edit < 1 + random() % 3; ++edit) {
      const std::size_t offset = random() % source.size();
      if (random() % 2 == 0) source.erase(offset, 1 + random() % 4);
      if (random() % 2 == 0)
        source.insert(std::min(offset, source.size()), parts[random() % parts.size()]);
    }
    try {
      render(source);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr("chat template"));
      ++refused_count;
    }
  }
  EXPECT_GT(refused_count, kRounds / 4);
  EXPECT_LT(refused_count, kRounds);
}

}  // namespace
}  // namespace cohort
