# Writes text files into a C++ source: cmake -DOUTPUT=... -DHTML=... -DCSS=... -DSCRIPTS=a;b -P
# Raw strings keep them as they are; the delimiter must not occur in them.
set(delimiter cohort_text)

function(read_literal path result)
  file(READ ${path} text)
  if(text MATCHES "\\)${delimiter}\"")
    message(FATAL_ERROR "${path} holds the delimiter of its own literal")
  endif()
  set(${result} "R\"${delimiter}(${text})${delimiter}\"" PARENT_SCOPE)
endfunction()

read_literal(${HTML} html)
read_literal(${CSS} css)
set(scripts "")
foreach(script IN LISTS SCRIPTS)
  read_literal(${script} literal)
  string(APPEND scripts "    ${literal},\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"report/page_sources.hpp\"

namespace cohort::page {

const std::string_view kHtml = ${html};
const std::string_view kCss = ${css};
static constexpr std::string_view kScriptTexts[] = {
${scripts}};
const std::span<const std::string_view> kScripts = kScriptTexts;

}  // namespace cohort::page
")
