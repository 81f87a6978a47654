# birkhoff_embed(SOURCE FILE...): a source file that holds the files' bytes, made anew when one changes.  NAME.ext becomes
#   extern const absl::string_view kNameExt, in the namespace birkhoff.
# Run as a script (SOURCE and FILES given) it writes that source.
if(CMAKE_SCRIPT_MODE_FILE)
  set(text "#include \"absl/strings/string_view.h\"\nnamespace birkhoff {\n")
  foreach(path IN LISTS FILES)
    cmake_path(GET path FILENAME name)
    string(REGEX MATCHALL "[A-Za-z0-9]+" words "${name}")
    set(symbol k)
    foreach(word IN LISTS words)
      string(SUBSTRING "${word}" 0 1 first)
      string(SUBSTRING "${word}" 1 -1 rest)
      string(TOUPPER "${first}" first)
      string(APPEND symbol "${first}${rest}")
    endforeach()
    file(READ "${path}" hex HEX)
    string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${hex}")
    string(APPEND text "static const char ${symbol}Bytes[] = {${bytes} 0};\n"
      "extern const absl::string_view ${symbol};\n"
      "const absl::string_view ${symbol}(${symbol}Bytes, sizeof(${symbol}Bytes) - 1);\n")
  endforeach()
  file(WRITE "${SOURCE}" "${text}}  // namespace birkhoff\n")
  return()
endif()

function(birkhoff_embed source)
  list(TRANSFORM ARGN PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/ OUTPUT_VARIABLE paths)
  add_custom_command(OUTPUT ${CMAKE_CURRENT_BINARY_DIR}/${source}
    COMMAND ${CMAKE_COMMAND} -D "SOURCE=${CMAKE_CURRENT_BINARY_DIR}/${source}" -D "FILES=${paths}"
            -P ${PROJECT_SOURCE_DIR}/cmake/Embed.cmake
    DEPENDS ${paths} ${PROJECT_SOURCE_DIR}/cmake/Embed.cmake VERBATIM)
endfunction()
